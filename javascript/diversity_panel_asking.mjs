// Asks the server for the plan by pressing hidden buttons, of which gradio sends the page's values.
//
// However much changes at once, and on both tabs, buttons are pressed at most twice a second; a tab that is not in
// view waits until it is.

const PAUSE = 500;
const WITH_CHECKPOINT = "_with_checkpoint";

export class Asking {
    #waiting = new Map();
    #timer = null;

    // The values behind a button have changed. One that reads the host's checkpoint as well is not given up for one
    // that does not.
    wake(button) {
        const panel = button.replace(WITH_CHECKPOINT, "");
        if (button !== panel || !this.#waiting.has(panel)) {
            this.#waiting.set(panel, button);
        }
        this.press();
    }

    press() {
        if (this.#timer !== null) {
            return;
        }
        for (const [panel, button] of this.#waiting) {
            const element = document.getElementById(button);
            if (element !== null && isInView(element)) {
                this.#waiting.delete(panel);
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
