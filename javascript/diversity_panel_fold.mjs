// Folds: the accordion with the box on it, and the groups inside.
//
// The hosts tie their boxes to their folds (javascript/inputAccordion.js, A1111 1.10.1 and Forge dfdcbab6): what folds
// is unticked, until somebody clicks the box. For a panel of this size that is a trap. So ours is told that its box
// was clicked, by an event that no box acts on, and from then on box and fold are two things; the first opening ticks
// and the first tick opens, as they always did. The host's other accordions are as they were.

function header(accordion) {
    return accordion.querySelector(".label-wrap");
}

function isOpen(accordion) {
    return header(accordion).classList.contains("open");
}

// A fold that the keyboard can open, and that says whether it is: gradio 3's is a plain element.
function operable(wrap, control, name) {
    if (wrap.tagName !== "BUTTON") {
        control.setAttribute("role", "button");
        control.tabIndex = 0;
        if (name) {
            control.setAttribute("aria-label", name);
        }
        control.addEventListener("keydown", (event) => {
            if (event.target === control && (event.key === "Enter" || event.key === " ")) {
                event.preventDefault();
                wrap.click();
            }
        });
    }
    const told = wrap.tagName === "BUTTON" ? wrap : control;
    const tell = () => told.setAttribute("aria-expanded", String(wrap.classList.contains("open")));
    tell();
    const observer = new MutationObserver(tell);
    observer.observe(wrap, { attributes: true, attributeFilter: ["class"] });
    return observer;
}

// A text right of a fold's title.
function beside(wrap, kind, makeText) {
    const text = makeText("span", { class: kind });
    wrap.insertBefore(text, wrap.lastElementChild);
    return text;
}

export class BoxFold {
    #accordion;
    #observers = [];
    #tied = true;

    // Null while the host has not made the box.
    static of(accordion, title, parts) {
        return accordion.visibleCheckbox && header(accordion) ? new BoxFold(accordion, title, parts) : null;
    }

    constructor(accordion, title, { makeText }) {
        this.#accordion = accordion;
        const wrap = header(accordion);
        const box = accordion.visibleCheckbox;
        const before = box.checked;
        box.dispatchEvent(new Event("click"));
        box.checked = before;
        box.setAttribute("aria-label", title);
        this.line = beside(wrap, "diversity-state", makeText);
        this.#observers.push(operable(wrap, wrap.lastElementChild, `Settings of ${title}`));
        this.#tied = !(before || isOpen(accordion));
        const observer = new MutationObserver(() => this.#opened());
        observer.observe(wrap, { attributes: true, attributeFilter: ["class"] });
        this.#observers.push(observer);
        this.#hidden().addEventListener("input", () => this.#ticked());
    }

    get ticked() {
        return this.#accordion.visibleCheckbox.checked;
    }

    close() {
        this.#observers.forEach((observer) => observer.disconnect());
    }

    #hidden() {
        return gradioApp().querySelector(`#${this.#accordion.id}-checkbox input`);
    }

    #opened() {
        if (this.#tied && isOpen(this.#accordion)) {
            this.#tied = false;
            if (!this.ticked) {
                this.#accordion.visibleCheckbox.checked = true;
                this.#accordion.onVisibleCheckboxChange();
            }
        }
    }

    // By the user, or by what a paste has set.
    #ticked() {
        if (this.#tied && this.#hidden().checked) {
            this.#tied = false;
            if (!isOpen(this.#accordion)) {
                header(this.#accordion).click();
            }
        }
    }
}

export class GroupFold {
    #reset;
    #observer;

    constructor(accordion, parts) {
        const wrap = header(accordion);
        this.parts = parts;
        this.note = beside(wrap, "diversity-changed", parts.makeText);
        this.#reset = accordion.querySelector(".diversity-reset");
        this.#observer = operable(wrap, wrap, "");
    }

    // What of the group is not as it comes, "" for nothing.
    say(changed) {
        this.parts.say(this.note, changed);
        if (this.#reset.disabled === (changed !== "")) {
            this.#reset.disabled = changed === "";
        }
    }

    close() {
        this.#observer.disconnect();
    }
}
