// The controls of the accordion: what they are called, how far their sliders go, what they come to, and why one has no effect now.

// gradio 3 gives the box beside a slider no name.
function nameBox(box, element) {
    if (!box.labels?.length && !box.hasAttribute("aria-label")) {
        box.setAttribute("aria-label", element.querySelector("label, span")?.textContent.trim() ?? "");
    }
}

// The hosts' button beside a drop-down has a picture for a name.
export function nameRefresh(button, control) {
    const label = control?.querySelector("label > span, span")?.textContent.trim();
    if (label && !button.hasAttribute("aria-label")) {
        button.setAttribute("aria-label", `Look for files again: ${label}`);
    }
}

// gradio 3 names a drop-down by its whole label, in which the open list is.
export function nameField(control) {
    const input = control.querySelector("input");
    const label = control.querySelector("label > span, span")?.textContent.trim();
    if (input !== null && label && !input.hasAttribute("aria-label")) {
        input.setAttribute("aria-label", label);
    }
}

export class Control {
    #element;
    #note;
    #parts;
    #typed = "";
    #said = "";

    constructor(element, parts) {
        this.#element = element;
        this.#parts = parts;
        this.#note = parts.makeText("span", { class: "diversity-said", id: `${element.id}_said` });
        element.append(this.#note);
        const box = element.querySelector("input[type=number]");
        if (box !== null) {
            nameBox(box, element);
            box.addEventListener("change", () => this.#watchTyped(box));
            box.addEventListener("input", () => this.#setTyped(""));
        }
    }

    get isConnected() {
        return this.#note.isConnected;
    }

    // Args: idle: why it has no effect, "" if it has; found: what it comes to, "" for nothing; top: null for no slider.
    show(idle, found, top) {
        const { mark } = this.#parts;
        this.#said = idle || found;
        this.#say();
        if (this.#element.classList.contains("diversity-idle") !== (idle !== "")) {
            this.#element.classList.toggle("diversity-idle", idle !== "");
        }
        for (const input of this.#element.querySelectorAll("input, button, textarea")) {
            if (input.disabled !== (idle !== "")) {
                input.disabled = idle !== "";
            }
            mark(input, "aria-describedby", this.#note.id);
        }
        if (top !== null) {
            this.#end(top);
        }
    }

    // gradio's slider and the box beside it have one end; the slider alone is to be of use for the numbers of every day.
    #end(top) {
        const range = this.#element.querySelector("input[type=range]");
        const box = this.#element.querySelector("input[type=number]");
        if (range === null || box === null || Number(range.max) === top) {
            return;
        }
        range.max = top;
        range.value = box.value;
        const least = Number(range.min);
        range.style.backgroundSize = `${(100 * (Number(range.value) - least)) / (top - least)}% 100%`;
    }

    // gradio brings a number that is out of its bounds back into them when the box is left.
    #watchTyped(box) {
        const [typed, least, most] = [box.valueAsNumber, box.min, box.max];
        if (most !== "" && typed > Number(most)) {
            this.#setTyped(`${typed} was typed, and ${most} is the most`);
        } else if (least !== "" && typed < Number(least)) {
            this.#setTyped(`${typed} was typed, and ${least} is the least`);
        }
    }

    #setTyped(text) {
        this.#typed = text;
        this.#say();
    }

    #say() {
        const text = this.#typed || this.#said;
        this.#parts.say(this.#note, text);
        this.#parts.mark(this.#note, "title", text || null);
    }
}
