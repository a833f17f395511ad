// What the panel does to the host and asks of the server: the hidden text box, the host's buttons, stop and save.

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

    // Whether the host shows progress on this tab.
    get busy() {
        const gallery = document.getElementById(`${this.name}_gallery_container`);
        return Boolean(gallery?.parentNode.querySelector(":scope > .progressDiv"));
    }

    get generateButton() {
        return document.getElementById(`${this.name}_generate`);
    }

    get interruptButton() {
        return document.getElementById(`${this.name}_interrupt`);
    }

    get page() {
        return this.#box?.value || "";
    }

    // gradio takes the value from the event, not from the element.
    set page(text) {
        const box = this.#box;
        if (box && box.value !== text) {
            box.value = text;
            box.dispatchEvent(new Event("input", { bubbles: true }));
        }
    }

    get #box() {
        return document.getElementById(this.#page)?.querySelector("textarea, input");
    }
}

export class Server {
    constructor({ sentenceOf }) {
        this.#sentenceOf = sentenceOf;
    }

    #sentenceOf;

    // Ends a generation with one of its frames, null: with the newest. Returns a sentence.
    async stop(generation, frame) {
        const { sentence } = await this.#post(`${generation.id}/stop`, { number: frame ? frame.number : null });
        return sentence || `It ends with ${frame ? `step ${frame.step + 1}` : "the newest frame"}.`;
    }

    // Writes the strips beside the images. Returns a sentence.
    async save(generations) {
        const files = [];
        for (const generation of generations) {
            const { sentence, told } = await this.#post(`${generation.id}/save`, {});
            if (sentence) {
                return sentence;
            }
            files.push(...told.files);
        }
        return files.length ? `Saved ${files.join(", ")}.` : "There was nothing to save.";
    }

    async #post(path, body) {
        try {
            const answer = await fetch(`./diversity-distillation/dt/${path}`, {
                method: "POST",
                headers: { "Content-Type": "application/json" },
                body: JSON.stringify(body),
            });
            return answer.ok ? { told: await answer.json() } : { sentence: await this.#sentenceOf(answer) };
        } catch {
            return { sentence: "The server does not answer." };
        }
    }
}
