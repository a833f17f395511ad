// Notes beside the host's own controls: what runs in place of what they show. Each is an element of ours that stands
// behind the host's while the box is ticked; the host's own are left as they are.

// What a note stands behind; the first that is on the page.
const PLACES = {
    sampler: (tab) => [`sampler_selection_${tab}`, `${tab}_steps`],
    cfg: (tab) => [`${tab}_cfg_scale`],
    negative: (tab) => [`${tab}_neg_prompt_row`, `${tab}_neg_prompt`],
};

export class HostNotes {
    #notes = new Map();
    #tab;
    #parts;

    constructor(tab, parts) {
        this.#tab = tab;
        this.#parts = parts;
    }

    // Args: texts: by place. A note that has none keeps its room while the box is ticked, so that nothing moves when a
    // plan takes the place of another.
    say(ticked, texts) {
        for (const [place, ids] of Object.entries(PLACES)) {
            if (ticked) {
                this.#sayAt(place, ids(this.#tab), texts[place] ?? "");
            } else {
                this.#notes.get(place)?.remove();
            }
        }
    }

    #sayAt(place, ids, text) {
        const note =
            this.#notes.get(place) ??
            this.#parts.makeText("p", { class: "diversity-host-note", "data-place": place });
        this.#notes.set(place, note);
        this.#parts.say(note, text);
        const anchor = ids.map((id) => document.getElementById(id)).find((element) => element !== null);
        if (anchor && anchor.nextElementSibling !== note) {
            anchor.after(note);
        }
    }

    close() {
        this.#notes.forEach((note) => note.remove());
    }
}
