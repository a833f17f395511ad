// The line below the drop-down of files: asks for a family that no file tells, or says that no file was found. It is one
// line, so that nothing below moves; a sentence that is longer is read by a press.

const ASKED = "Say its family";
const LONGER = "Read on";

export class Below {
    #line;
    #text;
    #button;
    #parts;

    #unsure = "";

    // family: () -> the control that the button leads to.
    constructor(control, parts, family) {
        this.#parts = parts;
        this.#text = parts.makeText("span");
        this.#button = parts.makeText("button", { type: "button", hidden: true }, LONGER);
        this.#button.addEventListener("click", () => (this.#unsure ? reach(family()) : this.#unfold()));
        this.#line = parts.make("div", { class: "diversity-below", role: "status" }, this.#text, this.#button);
        control.closest(".diversity-row").after(this.#line);
    }

    // Args: unsure: asks for the family; noneFound: a sentence where nothing is to be asked.
    show(unsure, noneFound) {
        const text = unsure || noneFound;
        this.#unsure = unsure;
        this.#parts.say(this.#text, text);
        this.#parts.mark(this.#text, "title", text || null);
        this.#parts.say(this.#button, unsure ? ASKED : LONGER);
        this.#parts.show(this.#button, text !== "");
    }

    #unfold() {
        const isWhole = this.#line.toggleAttribute("data-whole");
        this.#button.setAttribute("aria-expanded", String(isWhole));
    }

    close() {
        this.#line.remove();
    }
}

// Unfolds the group that a control is in, and puts the focus there.
function reach(control) {
    const fold = control?.closest(".diversity-group")?.querySelector(".label-wrap");
    if (fold && !fold.classList.contains("open")) {
        fold.click();
    }
    setTimeout(() => control?.querySelector("input")?.focus()); // gradio unfolds once this event is over
}
