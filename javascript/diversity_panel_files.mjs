// The drop-down of files on one tab: its list, the line below it, and what the server says of the files.

function sameNames(one, other) {
    const [names, others] = [one, other].map((told) => new Set(told.choices.map((entry) => entry.name)));
    return names.size === others.size && Array.from(names).every((name) => others.has(name));
}

export class Files {
    #prefix;
    #changed;
    #parts;
    #offers;
    #list = null;
    #below = null;
    #told = null;
    #isOld = false; // gradio's list may have other files than the folders
    #returned = () => this.#renewLater(); // who comes back to the page may have been away for a file
    #unsure = "";

    // prefix: of the ids of this tab's elements. changed() has gradio's list made anew.
    constructor(prefix, parts, changed) {
        this.#prefix = prefix;
        this.#changed = changed;
        this.#parts = parts;
        this.#offers = new parts.Offers(parts, (told) => this.#answered(told), () => this.#isInView());
        window.addEventListener("focus", this.#returned);
    }

    // state: as the server tells it (ui/page_state.py).
    show(state) {
        const control = this.#control("distilled_model");
        if (control === null) {
            return;
        }
        if (!this.#list?.isConnected) {
            this.#build(control);
        }
        this.#unsure = state.unsure;
        this.#say();
        if (state.loaded !== "") {
            this.#offers.want(`${state.loaded} ${state.loaded_is}`, state.loaded_is || "auto");
        }
    }

    close() {
        window.removeEventListener("focus", this.#returned);
        this.#offers.close();
        this.#list?.close();
        this.#below?.close();
    }

    #build(control) {
        this.#list?.close();
        this.#below?.close();
        this.#below = new this.#parts.Below(control, this.#parts, () => this.#control("family"));
        const [opened, closed] = [() => this.#offers.ask(), () => this.#renew()];
        this.#list = new this.#parts.OfferedList(control, this.#parts, { opened, closed });
        if (this.#told !== null) {
            this.#list.show(this.#told);
        }
    }

    #answered(told) {
        const others = this.#told !== null && !sameNames(this.#told, told);
        this.#told = told;
        this.#list?.show(told);
        this.#say();
        if (others) {
            this.#renewLater();
        }
    }

    #renewLater() {
        this.#isOld = true;
        this.#renew();
    }

    // An open list that is made anew shows no more than what begins as the field does (gradio 3.41.2 and 4.40.0).
    #renew() {
        if (this.#isOld && !this.#list?.isOpen) {
            this.#isOld = false;
            this.#changed();
        }
    }

    #say() {
        this.#below?.show(this.#unsure, this.#told?.none_found ?? "");
    }

    #control(name) {
        return document.getElementById(`${this.#prefix}${name}`);
    }

    #isInView() {
        return !document.hidden && (this.#control("distilled_model")?.getClientRects().length ?? 0) > 0;
    }
}
