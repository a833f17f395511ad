// The drop-down of files on one tab: its list, the line below it, and what the server says of the files.

export class Files {
    #prefix;
    #parts;
    #offers;
    #list = null;
    #below = null;
    #told = null;
    #unsure = "";

    // prefix: of the ids of this tab's elements.
    constructor(prefix, parts) {
        this.#prefix = prefix;
        this.#parts = parts;
        this.#offers = new parts.Offers(parts, (told) => this.#answered(told), () => this.#isInView());
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
        this.#offers.close();
        this.#list?.close();
        this.#below?.close();
    }

    #build(control) {
        this.#list?.close();
        this.#below?.close();
        this.#below = new this.#parts.Below(control, this.#parts, () => this.#control("family"));
        this.#list = new this.#parts.OfferedList(control, this.#parts, () => this.#offers.ask());
        if (this.#told !== null) {
            this.#list.show(this.#told);
        }
    }

    #answered(told) {
        this.#told = told;
        this.#list?.show(told);
        this.#say();
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
