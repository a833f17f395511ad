// The same seeds by the base alone, by the distilled model alone and by both: Compare on the DT-preview, and Try it on
// the panel, which needs no DT-preview. Both are a press of the host's Generate with a word in the page's text box.

export class Comparing {
    #host;
    #keys;
    #asked = "";

    // Whether one was begun that is not known to have ended.
    lasts = false;

    constructor(host, keys) {
        this.#host = host;
        this.#keys = keys;
    }

    // word: "compare" or "try".
    begin(word) {
        this.#asked = `${word} ${this.#keys.nonce()}`;
        this.#host.generateButton?.click();
        this.#asked = "";
    }

    // Generate was pressed, by whomever. Returns what the page's text box is to hold.
    pressed(key) {
        const asked = this.#asked;
        this.#asked = "";
        this.lasts = asked !== "";
        return asked ? `${key} ${asked}` : key;
    }

    // Why Compare cannot be pressed, "" if it can. Args: told: what the server says of the tab.
    whyNot(busy, told) {
        return this.#host.ticked ? whyNone(busy, told) : "Tick DT-preview to compare: only then frames are recorded.";
    }

    // Whether Try it can be pressed, and what is said beside it.
    trial(busy, told) {
        const why = whyNone(busy, told);
        return { able: why === "" && Boolean(told.trial), said: why || (told.trial ?? "") };
    }
}

function whyNone(busy, told) {
    return busy ? "Compare when what runs now has ended." : (told.compare ?? "");
}

// The panel's button, which gradio may draw anew.
export class TryIt {
    #host;
    #parts;
    #pressed;
    #button = null;
    #note = null;

    constructor(host, parts, pressed) {
        this.#host = host;
        this.#parts = parts;
        this.#pressed = pressed;
    }

    show({ able, said }) {
        const button = this.#host.tryButton;
        if (!button) {
            return;
        }
        if (button !== this.#button || !this.#note.isConnected) {
            this.#build(button);
        }
        if (button.disabled === able) {
            button.disabled = !able;
        }
        this.#parts.say(this.#note, said);
    }

    #build(button) {
        const id = `${button.id}_note`;
        document.getElementById(id)?.remove();
        this.#button = button;
        this.#note = this.#parts.makeText("span", { class: "diversity-try-note", id });
        button.setAttribute("aria-describedby", id);
        button.addEventListener("click", this.#pressed);
        button.after(this.#note);
    }

    close() {
        this.#button?.removeEventListener("click", this.#pressed);
        this.#note?.remove();
    }
}
