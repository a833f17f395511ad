// The line below the drop-down of files: asks for a family that no file tells, or says that no file was found.

export class Below {
    #line;
    #text;
    #button;
    #parts;

    // family: () -> the control that the button leads to.
    constructor(control, parts, family) {
        this.#parts = parts;
        this.#text = parts.makeText("span");
        this.#button = parts.makeText("button", { type: "button", hidden: true }, "Say its family");
        this.#button.addEventListener("click", () => reach(family()));
        this.#line = parts.make("div", { class: "diversity-below", role: "status" }, this.#text, this.#button);
        control.closest(".diversity-row").after(this.#line);
    }

    // Args: unsure: asks for the family; noneFound: a sentence where nothing is to be asked.
    show(unsure, noneFound) {
        this.#parts.say(this.#text, unsure || noneFound);
        this.#parts.show(this.#button, unsure !== "");
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
