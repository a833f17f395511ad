// Asks the server for the plan by pressing hidden buttons, of which gradio sends the page's values.
//
// However much changes at once, and on both tabs, buttons are pressed at most twice a second; a tab that is not in
// view waits until it is.

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
        for (const button of this.#waiting) {
            const element = document.getElementById(button);
            if (element !== null && isInView(element)) {
                this.#waiting.delete(button);
                this.#timer = setTimeout(() => {
                    this.#timer = null;
                    this.press();
                }, PAUSE);
                element.click();
                return;
            }
        }
    }
}

// Whether the tab that an element is on is the one that is shown; the element itself may lie behind a fold.
function isInView(element) {
    const accordion = element.closest(".input-accordion");
    return accordion !== null && accordion.getClientRects().length > 0;
}
