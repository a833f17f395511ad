// One frame shown large, and full size in a dialog, decoded by the whole VAE when somebody asks.

const PAUSE_MS = 1000;

function caption({ frame, image }, kindName) {
    return `Image ${image + 1}, ${frame.labels.spoken}; ${kindName}.`;
}

// The picture that is scrubbed: the panel's own, enlarged, so that scrubbing asks the server for nothing.
export class Large {
    constructor({ elements, pictures }, opened) {
        this.#elements = elements;
        this.#pictures = pictures;
        const { make, makeText } = elements;
        this.#img = make("img", { alt: "" });
        this.#note = makeText("span", { class: "diversity-dt-cell-note", hidden: true });
        this.caption = makeText("figcaption", { class: "diversity-dt-caption" });
        const open = makeText("button", { type: "button", class: "diversity-dt-button", onclick: opened }, "Full size");
        this.element = make("figure", { class: "diversity-dt-large", hidden: true });
        this.element.append(make("div", { class: "diversity-dt-stage" }, this.#img, this.#note), this.caption, open);
    }

    #elements;
    #pictures;
    #img;
    #note;

    update(chosen, kind, kindName) {
        const { say, sayIfAny, show, mark } = this.#elements;
        show(this.element, chosen !== null);
        if (chosen === null) {
            return;
        }
        const { generation, frame, image } = chosen;
        const recorded = frame.kinds.includes(kind);
        mark(this.element, "data-phase", frame.phase);
        mark(this.#img, "alt", `Image ${image + 1} at step ${frame.step + 1}`);
        say(this.caption, caption(chosen, kindName));
        const url = recorded ? generation.picture(frame, image, kind) : null;
        this.#pictures.want(this.#img, url, (sentence) => sayIfAny(this.#note, recorded ? sentence : "not recorded"));
    }
}

export class FullSize {
    // moved(key) moves on in the strip and returns what is chosen then.
    constructor({ elements, comesLater, retryAfter, sentenceOf }, moved) {
        this.#elements = elements;
        this.#comesLater = comesLater;
        this.#retryAfter = retryAfter;
        this.#sentenceOf = sentenceOf;
        this.#moved = moved;
        const { make, makeText } = elements;
        this.#img = make("img", { alt: "" });
        this.#caption = makeText("p", { class: "diversity-dt-caption" });
        this.#status = makeText("p", { class: "diversity-dt-note", role: "status" });
        const close = makeText("button", { type: "button", class: "diversity-dt-button" }, "Close");
        close.addEventListener("click", () => this.element.close());
        this.element = make("dialog", { class: "diversity-dt-full", "aria-label": "Frame in full size" });
        const stage = make("div", { class: "diversity-dt-stage" }, this.#img);
        this.element.append(stage, this.#caption, this.#status, close);
        this.element.addEventListener("close", () => this.#stop());
        this.element.addEventListener("keydown", (event) => this.#pressed(event));
        this.element.addEventListener("click", (event) => event.target === this.element && this.element.close());
    }

    #elements;
    #comesLater;
    #retryAfter;
    #sentenceOf;
    #moved;
    #img;
    #caption;
    #status;
    #kind = ["guided", ""];
    #abort = null;
    #address = "";

    open(chosen, kind, kindName) {
        if (chosen === null || !chosen.frame.kinds.includes(kind)) {
            return;
        }
        this.#kind = [kind, kindName];
        this.#show(chosen);
        if (!this.element.open) {
            this.element.showModal();
        }
    }

    close() {
        if (this.element.open) {
            this.element.close();
        }
        this.#stop();
    }

    // Escape would reach the host as well, which interrupts the generation for it.
    #pressed(event) {
        if (event.key === "Escape") {
            event.preventDefault();
            event.stopPropagation();
            this.element.close();
        } else if (event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End") {
            event.preventDefault();
            const chosen = this.#moved(event.key);
            if (chosen?.frame.kinds.includes(this.#kind[0])) {
                this.#show(chosen);
            }
        }
    }

    #stop() {
        this.#abort?.abort();
        this.#abort = null;
        URL.revokeObjectURL(this.#address);
        this.#address = "";
        this.#img.removeAttribute("src");
        this.#elements.mark(this.#img, "data-full", null);
    }

    #show(chosen) {
        this.#stop();
        const { say, mark } = this.#elements;
        const { generation, frame, image } = chosen;
        const [kind, kindName] = this.#kind;
        mark(this.#img, "alt", caption(chosen, kindName));
        this.#img.src = generation.picture(frame, image, kind);
        say(this.#caption, caption(chosen, kindName));
        say(this.#status, "The small picture, enlarged; the full one is being decoded.");
        this.#abort = new AbortController();
        this.#fetch(generation.fullPicture(frame, image, kind), this.#abort.signal);
    }

    async #fetch(url, signal) {
        const { say, mark } = this.#elements;
        try {
            while (!signal.aborted && this.element.isConnected) {
                const answer = await fetch(url, { signal });
                if (answer.status === 200) {
                    const blob = await answer.blob();
                    if (signal.aborted) {
                        return;
                    }
                    this.#address = URL.createObjectURL(blob);
                    this.#img.src = this.#address;
                    mark(this.#img, "data-full", "");
                    say(this.#status, "Decoded by the whole VAE.");
                    return;
                }
                const sentence = await this.#sentenceOf(answer);
                say(this.#status, sentence);
                if (!this.#comesLater(answer)) {
                    return;
                }
                await waited(this.#retryAfter(answer, PAUSE_MS), signal);
            }
        } catch {
            if (!signal.aborted) {
                say(this.#status, "The server does not answer; the small picture is shown.");
            }
        }
    }
}

// Resolves after a while, or at once when the signal comes, so that no timer is left behind.
export function waited(milliseconds, signal) {
    return new Promise((resolve) => {
        const timer = setTimeout(resolve, milliseconds);
        signal.addEventListener(
            "abort",
            () => {
                clearTimeout(timer);
                resolve();
            },
            { once: true },
        );
    });
}
