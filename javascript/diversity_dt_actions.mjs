// What the panel does to the host and asks of the server: the hidden text box, the host's buttons, stop and save.

const PAUSE_MS = 1000;

// The host's page around one panel. Everything is looked up anew: gradio may draw it anew.
export class HostTab {
    constructor({ tab, switch: switchId, page }) {
        this.name = tab;
        this.#switch = switchId;
        this.#page = page;
    }

    #switch;
    #page;

    // Whether the DT-preview is ticked.
    get ticked() {
        const box = document.getElementById(this.#switch)?.querySelector("input");
        return box ? box.checked : false;
    }

    // Whether the strip is saved without being asked for.
    get saves() {
        return document.getElementById(this.#beside("dt_save"))?.querySelector("input")?.checked ?? false;
    }

    // What the server says of this tab beside the plan (ui/page_state.py).
    get told() {
        const told = document.getElementById(this.#beside("plan"))?.querySelector(".diversity-told");
        return told ? JSON.parse(told.dataset.state) : {};
    }

    // Whether an element is a box of this DT-preview.
    isBox(element) {
        const boxes = [this.#switch, this.#beside("dt_save")].map((id) => document.getElementById(id));
        return boxes.some((box) => box?.contains(element));
    }

    #beside(name) {
        return this.#switch.replace(/dt_preview-checkbox$/, name);
    }

    // Whether the host shows progress on this tab.
    get busy() {
        const gallery = document.getElementById(`${this.name}_gallery_container`);
        return Boolean(gallery?.parentNode.querySelector(":scope > .progressDiv"));
    }

    get generateButton() {
        return document.getElementById(`${this.name}_generate`);
    }

    get tryButton() {
        return document.getElementById(this.#beside("try"));
    }

    get interruptButton() {
        return document.getElementById(`${this.name}_interrupt`);
    }

    get page() {
        return this.#box?.value || "";
    }

    // gradio takes the value from an event, and passes it on only if it is another than the last one it heard. One that
    // it heard before the page was ready it may have kept to itself, so an empty one goes first.
    set page(text) {
        const box = this.#box;
        for (const value of box ? ["", text] : []) {
            box.value = value;
            box.dispatchEvent(new Event("input", { bubbles: true }));
        }
    }

    get #box() {
        return document.getElementById(this.#page)?.querySelector("textarea, input");
    }
}

export class Server {
    // closing: a signal that ends all waiting.
    constructor({ comesLater, retryAfter, sentenceOf, waited }, closing) {
        this.#parts = { comesLater, retryAfter, sentenceOf, waited };
        this.#closing = closing;
    }

    #parts;
    #closing;

    // Ends a generation with one of its frames, null: with the newest. Returns a sentence.
    async stop(generation, frame) {
        const { sentence } = await this.#post(`${generation.id}/stop`, { number: frame ? frame.number : null });
        return sentence || `It ends with ${frame ? `step ${frame.step + 1}` : "the newest frame"}.`;
    }

    // Writes the strips beside the images. Returns a sentence. Args: folder: "" if it is not to be told.
    async save(generations, folder) {
        const files = [];
        for (const generation of generations) {
            const { sentence, told } = await this.#made(`${generation.id}/save`);
            if (sentence) {
                return sentence;
            }
            files.push(...told.files);
        }
        const where = folder ? ` under ${folder}` : "";
        return files.length ? `Saved ${files.join(", ")}${where}.` : "There was nothing to save.";
    }

    // Asks until it is made.
    async #made(path) {
        const { comesLater, retryAfter, waited } = this.#parts;
        for (;;) {
            const { answer, told, sentence } = await this.#post(path, {});
            if (!answer || !comesLater(answer) || this.#closing.aborted) {
                return { told, sentence: sentence || (told.files ? "" : "It has been given up.") };
            }
            await waited(retryAfter(answer, PAUSE_MS), this.#closing);
        }
    }

    async #post(path, body) {
        try {
            const answer = await fetch(`./diversity-distillation/v1/dt/${path}`, {
                method: "POST",
                headers: { "Content-Type": "application/json" },
                body: JSON.stringify(body),
            });
            return answer.ok
                ? { answer, told: await answer.json() }
                : { answer, sentence: await this.#parts.sentenceOf(answer) };
        } catch {
            return { sentence: "The server does not answer." };
        }
    }
}
