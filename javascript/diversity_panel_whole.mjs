// An open drop-down of files to which others come stays whole, and what was typed into it stays typed.
//
// gradio makes such a list anew with what fits the name in the field alone, and puts the chosen name into the place of
// what was typed (3.41.2 and 4.40.0, Dropdown). To come to the field shows all of it again.

export class WholeList {
    #field;
    #list;
    #observer;
    #typed = null; // since somebody came to the field
    #length = 0; // of the list, when nothing was typed

    constructor(control) {
        this.#field = control.querySelector("input");
        this.#list = () => control.querySelector("ul.options");
        this.#observer = new MutationObserver(() => this.#look());
        this.#observer.observe(control, { childList: true, subtree: true });
        control.addEventListener("focusin", () => (this.#typed = null), true);
        control.addEventListener("input", () => (this.#typed = this.#field.value), true);
    }

    get isConnected() {
        return this.#field.isConnected;
    }

    close() {
        this.#observer.disconnect();
    }

    #look() {
        const list = this.#list();
        if (list === null || document.activeElement !== this.#field) {
            return; // closed, or about to be
        }
        if (this.#typed !== null) {
            this.#typeAgain();
            return;
        }
        const length = list.querySelectorAll(":scope > li.item").length;
        if (length < this.#length) {
            this.#field.dispatchEvent(new FocusEvent("focus"));
        }
        this.#length = length;
    }

    #typeAgain() {
        if (this.#field.value !== this.#typed) {
            this.#field.value = this.#typed;
            this.#field.dispatchEvent(new InputEvent("input", { bubbles: true }));
        }
    }
}
