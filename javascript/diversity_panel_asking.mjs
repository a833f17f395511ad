// Asks the server for the plan by pressing hidden buttons, of which gradio sends the page's values.
//
// However much changes at once, and on both tabs, buttons are pressed at most twice a second; a tab that is not in
// view waits until it is, and one that awaits its answer until that has come: gradio 3 drops what is pressed before.

const PAUSE = 500;

export class Asking {
    #waiting = new Set();
    #timer = null;

    // The values behind a button have changed.
    wake(button) {
        this.#waiting.add(button);
        this.press();
    }

    press() {
        if (this.#timer !== null) {
            return;
        }
        const buttons = Array.from(this.#waiting, (id) => document.getElementById(id)).filter(isInView);
        if (buttons.length === 0) {
            return;
        }
        this.#timer = setTimeout(() => {
            this.#timer = null;
            this.press();
        }, PAUSE);
        const button = buttons.find((each) => !isAwaited(each));
        if (button) {
            this.#waiting.delete(button.id);
            button.click();
        }
    }
}

// Whether the tab that an element is on is the one that is shown; the element itself may lie behind a fold.
function isInView(element) {
    return (element?.closest(".input-accordion")?.getClientRects().length ?? 0) > 0;
}

// Whether what an earlier press asked for has not come yet.
function isAwaited(element) {
    return element.closest(".input-accordion").querySelector(".diversity-plan .pending") !== null;
}
