// The host's own steps, sampler, schedule and CFG on one tab. A paste of one of our pictures puts those of its run in
// their place; when the box is unticked they come back, but for those that have been changed since.

function same(one, other) {
    return one === other || (one !== "" && other !== "" && Number(one) === Number(other));
}

export class OwnSettings {
    #now = null; // name -> value, as gradio has it
    #pressed = {}; // what stood there when something was clicked last
    #byBox = false;
    #replaced = new Map(); // name -> {was, is}
    #paste = "";

    // gradio says that a value has changed.
    changed(names, values) {
        this.#now = { ...this.#now, ...Object.fromEntries(names.map((name, at) => [name, values[at]])) };
    }

    // What the server has been sent: it comes later than changes, but before the first one.
    told(settings) {
        this.#now = { ...settings, ...this.#now };
    }

    // Whatever a click leads to, a paste as well, has not happened yet. Args: onBox: whether our box was clicked.
    clicked(onBox) {
        this.#pressed = { ...this.#now };
        this.#byBox = onBox;
    }

    // Args: paste: null where what was pasted last is none of ours, so that its settings are the user's own; else `id`
    // and what the host has `set`.
    pasted(paste) {
        const id = paste?.id ?? "";
        if (id === this.#paste) {
            return;
        }
        this.#paste = id;
        const before = this.#replaced;
        this.#replaced = new Map();
        for (const [name, is] of Object.entries(paste?.set ?? {})) {
            const stood = this.#pressed[name];
            const earlier = before.get(name);
            const was = earlier && same(stood, earlier.is) ? earlier.was : stood;
            if (was !== undefined && !same(was, is)) {
                this.#replaced.set(name, { was, is });
            }
        }
    }

    // What the host sends to another tab, so that the same comes back there.
    handOn(name, other) {
        const replaced = this.#replaced.get(name);
        if (replaced && same(this.#now?.[name], replaced.is)) {
            other.#replaced.set(name, replaced);
        }
    }

    // The box has been ticked or unticked; by name what is to stand in the host's controls again.
    back(ticked, names, values) {
        if (ticked || !this.#byBox) {
            return {};
        }
        const found = names.flatMap((name, at) => {
            const replaced = this.#replaced.get(name);
            return replaced && same(values[at], replaced.is) ? [[name, replaced.was]] : [];
        });
        this.#replaced.clear();
        return Object.fromEntries(found);
    }
}
