// The open list of Distilled model: beside each name what the file is and whether it fits, best first, kinds together.
//
// gradio compares and sends the names, so its own lines stay as they are: ours stand behind them in each line, headings
// between them, and all are put in order by their looks alone. gradio's keyboard knows its own order; where ours is
// another, a key goes as many of its lines as lie between. Both versions draw the list anew whenever it opens, and use
// its lines for other names when somebody types (3.41.2 and 4.40.0, Dropdown).

const NONE = "None";
const ITEMS = ":scope > li.item";

function nameOf(item) {
    return item.getAttribute("aria-label");
}

// The hosts add a checkpoint's hash to its name once they know it, and a page keeps the name that it was built with.
function bare(name) {
    return name.replace(/ \[[0-9a-f]+\]$/, "");
}

function place(element, order) {
    if (element.style.order !== String(order)) {
        element.style.order = order;
    }
}

function isChosen(item) {
    return item.classList.contains("selected");
}

function isActive(item) {
    return item.classList.contains("active");
}

// Where each name stands, and below which heading; room for a heading before each.
function arranged(told) {
    const placed = told.choices.map((entry, nth) => [bare(entry.name), { order: 2 * nth + 2, heading: entry.heading }]);
    return { places: new Map(placed), last: 2 * placed.length + 2, noneFound: told.none_found };
}

export class OfferedList {
    #control;
    #parts;
    #opened;
    #closed;
    #observer;
    #heard;
    #told = null;
    #entries = new Map();
    #list = null;
    #order = null; // of the open list: it stays while somebody looks at it
    #headings = new Map();
    #stepping = false;
    #byKeys = false;

    // opened() and closed() are called when the list opens and closes.
    constructor(control, parts, { opened, closed }) {
        this.#control = control;
        this.#parts = parts;
        this.#opened = opened;
        this.#closed = closed;
        this.#heard = parts.makeText("span", { class: "diversity-heard", role: "status" });
        control.append(this.#heard);
        parts.nameField(control);
        this.#observer = new MutationObserver(() => this.#look());
        const lines = { attributes: true, attributeFilter: ["class", "aria-label"], characterData: true };
        this.#observer.observe(control, { childList: true, subtree: true, ...lines });
        control.addEventListener("keydown", (event) => this.#pressed(event), true);
        control.addEventListener("input", () => this.#typed(), true);
        this.#look();
    }

    get isConnected() {
        return this.#heard.isConnected;
    }

    close() {
        this.#observer.disconnect();
    }

    get isOpen() {
        return this.#list !== null;
    }

    show(told) {
        this.#told = told;
        this.#entries = new Map(told.choices.map((entry) => [bare(entry.name), entry]));
        this.#look();
    }

    #look() {
        const list = this.#control.querySelector("ul.options");
        if (list !== this.#list) {
            this.#list = list;
            this.#order = null;
            this.#byKeys = false;
            this.#headings.clear();
            (list === null ? this.#closed : this.#opened)();
        }
        if (list !== null && this.#told !== null) {
            this.#dress();
        }
        this.#hear();
    }

    #dress() {
        const isFirst = this.#order === null;
        this.#order ??= arranged(this.#told);
        const items = this.#items();
        items.forEach((item) => this.#dressItem(item));
        this.#putHeadings(items);
        const chosen = isFirst ? items.find((item) => isChosen(item) && nameOf(item) !== NONE) : undefined;
        if (chosen !== undefined) {
            this.#list.scrollTop = chosen.offsetTop;
        }
    }

    #items() {
        return Array.from(this.#list.querySelectorAll(ITEMS));
    }

    #dressItem(item) {
        const { makeText, say, mark } = this.#parts;
        const name = nameOf(item);
        const entry = this.#entries.get(bare(name));
        let words = item.querySelector(":scope > .diversity-offer");
        if (words === null) {
            words = makeText("span", { class: "diversity-offer" });
            item.append(words);
        }
        say(words, entry?.words ?? "");
        mark(item, "aria-description", entry?.words ?? null);
        mark(item, "data-fits", entry === undefined ? null : String(entry.fits));
        place(item, name === NONE ? 0 : (this.#order.places.get(bare(name))?.order ?? this.#order.last));
    }

    #putHeadings(items) {
        const first = new Map();
        if (this.#order.noneFound !== "") {
            first.set(this.#order.noneFound, 0);
        }
        for (const item of items) {
            const { order, heading } = this.#order.places.get(bare(nameOf(item))) ?? {};
            if (heading !== undefined) {
                first.set(heading, Math.min(order, first.get(heading) ?? order));
            }
        }
        for (const text of first.keys()) {
            if (!this.#headings.has(text)) {
                this.#headings.set(text, this.#makeHeading(text));
            }
        }
        for (const [text, heading] of this.#headings) {
            this.#parts.show(heading, first.has(text));
            place(heading, (first.get(text) ?? 0) - 1);
        }
    }

    // What it says is said of each file, too, so a screen reader needs no line that cannot be chosen.
    #makeHeading(text) {
        const heading = this.#parts.makeText("li", { class: "diversity-heading", "aria-hidden": "true" }, text);
        heading.addEventListener("mousedown", (event) => {
            event.preventDefault();
            event.stopPropagation();
        });
        this.#list.append(heading);
        return heading;
    }

    // The focus stays in the field, so a screen reader is told of the line that the keys have come to.
    #hear() {
        const item = this.#list === null ? undefined : this.#items().find(isActive);
        const words = item === undefined ? "" : (this.#entries.get(bare(nameOf(item)))?.words ?? "");
        const text = item === undefined || !this.#byKeys ? "" : [nameOf(item), words].filter(Boolean).join(", ");
        if (text !== this.#heard.textContent) {
            this.#parts.say(this.#heard, text);
            if (text !== "") {
                this.#reveal(item);
            }
        }
    }

    #reveal(item) {
        const [top, bottom] = [item.offsetTop, item.offsetTop + item.offsetHeight];
        if (top < this.#list.scrollTop) {
            this.#list.scrollTop = top;
        } else if (bottom > this.#list.scrollTop + this.#list.clientHeight) {
            this.#list.scrollTop = bottom - this.#list.clientHeight;
        }
    }

    #pressed(event) {
        const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
        if (this.#stepping || step === undefined || this.#list === null) {
            return;
        }
        this.#byKeys = true;
        const items = this.#items();
        if (this.#order === null || items.length < 2) {
            return;
        }
        const seen = this.#asSeen(items);
        const at = seen.findIndex(isActive);
        const next = at < 0 ? seen.at(step > 0 ? 0 : -1) : seen.at((at + step) % seen.length);
        event.preventDefault();
        event.stopImmediatePropagation();
        this.#goTo(next, items, event.target);
    }

    // gradio begins with the first of its lines that match.
    #typed() {
        this.#byKeys = true;
        setTimeout(() => {
            const items = this.#list === null || this.#order === null ? [] : this.#items();
            if (items.length > 1 && isActive(items[0])) {
                this.#goTo(this.#asSeen(items)[0], items, this.#control.querySelector("input"));
            }
        });
    }

    #asSeen(items) {
        return [...items].sort((one, other) => Number(one.style.order) - Number(other.style.order));
    }

    // Presses the keys that bring gradio to a line, by the shorter way round its list.
    #goTo(item, items, input) {
        const at = items.findIndex(isActive);
        const target = items.indexOf(item);
        const down = at < 0 ? target + 1 : (target - at + items.length) % items.length;
        const up = at < 0 ? items.length - target : items.length - down;
        const key = down <= up ? "ArrowDown" : "ArrowUp";
        this.#stepping = true;
        for (let pressed = 0; pressed < Math.min(down, up); pressed++) {
            input.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
        }
        this.#stepping = false;
    }
}
