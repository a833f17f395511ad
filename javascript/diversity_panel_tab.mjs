// One tab's accordion: reads what the server says of it beside the plan and has it shown.

const TITLE = "Diversity Distillation";
const NOTHING = {
    ...{ ticked: false, line: "", refused: false, groups: {}, idle: {}, found: {}, tops: {}, host: {}, own: {} },
    ...{ loaded: "", loaded_is: "", unsure: "" },
};
// How often a page that has just been loaded, and may not listen to its buttons yet, is asked again.
const FIRST_ASKED = 20;

export class Tab {
    #accordion;
    #asking;
    #parts;
    #prefix;
    #tab;
    #fold = null;
    #previewFold = null;
    #groups = new Map();
    #controls = new Map();
    #lists = new Map();
    #notes;
    #files;
    #refused = null;
    #observer;
    #asked = 0;

    constructor(accordion, asking, parts) {
        this.#accordion = accordion;
        this.#asking = asking;
        this.#parts = parts;
        this.#prefix = accordion.id.slice(0, -"enabled".length);
        this.#tab = this.#prefix.match(/^script_(.+)_diversity_distillation_$/)[1];
        this.#notes = new parts.HostNotes(this.#tab, parts);
        this.own = new parts.OwnSettings();
        this.#files = new parts.Files(this.#prefix, parts, () => asking.wake(`${this.#prefix}ask`));
        this.#observer = new MutationObserver(() => this.#show());
        this.#observer.observe(accordion, { childList: true, subtree: true });
        this.#ask();
    }

    get name() {
        return this.#tab;
    }

    isBox(element) {
        return element === this.#accordion.visibleCheckbox;
    }

    // The page has changed.
    lookAround() {
        this.#fold ??= this.#parts.BoxFold.of(this.#accordion, TITLE, this.#parts);
        const preview = document.getElementById(`${this.#prefix}dt_preview`);
        this.#previewFold ??= preview && this.#parts.BoxFold.of(preview, "DT-preview", this.#parts);
        this.#show();
        this.#showRefused();
    }

    close() {
        this.#observer.disconnect();
        this.#fold?.close();
        this.#previewFold?.close();
        this.#groups.forEach((group) => group.close());
        this.#lists.forEach((list) => list.close());
        this.#notes.close();
        this.#files.close();
    }

    #ask() {
        if (this.#told() === null && this.#asked < FIRST_ASKED) {
            this.#asked += 1;
            this.#asking.wake(`${this.#prefix}ask`);
            setTimeout(() => this.#accordion.isConnected && this.#ask(), 1000);
        }
    }

    #told() {
        return this.#accordion.querySelector(".diversity-told");
    }

    #pasted() {
        const pasted = this.#accordion.querySelector(".diversity-paste");
        return pasted === null ? null : JSON.parse(pasted.dataset.paste);
    }

    #show() {
        const told = this.#told();
        const state = told === null ? NOTHING : JSON.parse(told.dataset.state);
        if (this.#fold !== null) {
            this.#parts.say(this.#fold.line, state.line);
            this.#parts.mark(this.#fold.line, "data-refused", state.refused ? "" : null);
        }
        this.own.told(state.own);
        this.own.pasted(this.#pasted());
        this.#showGroups(state);
        this.#showControls(state);
        this.#notes.say(state.ticked, state.host);
        this.#files.show(state);
    }

    #showGroups(state) {
        for (const accordion of this.#accordion.querySelectorAll(".diversity-group")) {
            if (!this.#groups.has(accordion.id) || !this.#groups.get(accordion.id).note.isConnected) {
                this.#groups.set(accordion.id, new this.#parts.GroupFold(accordion, this.#parts));
            }
            const name = accordion.id.slice(`${this.#prefix}group_`.length);
            this.#groups.get(accordion.id).say(state.groups[name] ?? "");
        }
    }

    #showControls(state) {
        for (const element of gradioApp().querySelectorAll(`.diversity-control[id^=${this.#prefix}]`)) {
            if (!this.#controls.get(element.id)?.isConnected) {
                this.#controls.set(element.id, new this.#parts.Control(element, this.#parts));
            }
            const name = element.id.slice(this.#prefix.length);
            const refresh = document.getElementById(`${element.id}_refresh`);
            if (refresh !== null) {
                this.#parts.nameRefresh(refresh, element);
                this.#keepWhole(element);
            }
            const top = state.tops[name] ?? null;
            this.#controls.get(element.id).show(state.idle[name] ?? "", state.found[name] ?? "", top);
        }
    }

    #keepWhole(element) {
        if (!this.#lists.get(element.id)?.isConnected) {
            this.#lists.get(element.id)?.close();
            this.#lists.set(element.id, new this.#parts.WholeList(element));
        }
    }

    // What the last generation was refused for stands under the gallery; whoever looks at the panel is to see it, too.
    #showRefused() {
        const plan = this.#accordion.querySelector(`#${this.#prefix}plan`);
        const error = gradioApp().querySelector(`#html_log_${this.#tab} .error`);
        const text = error === null ? "" : error.textContent.trim();
        if (this.#refused === null || !this.#refused.isConnected) {
            if (plan === null) {
                return;
            }
            this.#refused = this.#parts.makeText("p", { class: "diversity-refused", role: "status", hidden: true });
            plan.after(this.#refused);
        }
        const ours = text.startsWith(`${TITLE}: `) ? text.slice(TITLE.length + 2) : "";
        this.#parts.sayIfAny(this.#refused, ours === "" ? "" : `The last run was refused: ${ours}`);
    }
}
