// An accordion with a checkbox in its header. The hidden gradio checkbox "<id>-checkbox" holds the value. Folding ticks and unticks,
// until the user has clicked the box; from then on the two are independent.
"use strict";

const accordions = new Map();

class TickedAccordion {
    constructor(block, hidden) {
        this.header = block.querySelector(":scope > .label-wrap");
        this.block = block;
        this.hidden = hidden;
        this.isTied = true;
        this.box = Object.assign(document.createElement("input"), {
            type: "checkbox",
            id: `${block.id}-visible-checkbox`,
            className: `${hidden.className} input-accordion-checkbox`,
            checked: this.isOpen(),
        });
        this.header.prepend(this.box);
        // By these two names extensions find it.
        block.visibleCheckbox = this.box;
        block.onVisibleCheckboxChange = () => this.tick(this.box.checked);
        const extra = byId(`${block.id}-extra`);
        if (extra) {
            this.header.lastElementChild.before(extra);
        }
        this.box.addEventListener("click", (event) => {
            event.stopPropagation();
            this.isTied = false;
        });
        this.box.addEventListener("input", block.onVisibleCheckboxChange);
        new MutationObserver(() => this.folded()).observe(this.header, { attributeFilter: ["class"] });
    }

    isOpen() {
        return this.header.classList.contains("open");
    }

    folded() {
        this.block.classList.toggle("input-accordion-open", this.isOpen());
        if (this.isTied) {
            this.tick(this.isOpen());
        }
    }

    // The value, and as long as the two are tied the fold with it.
    tick(checked) {
        this.box.checked = checked;
        if (this.isTied && this.isOpen() !== checked) {
            this.header.click();
        }
        this.hidden.checked = checked;
        this.hidden.dispatchEvent(new Event("input", { bubbles: true }));
    }
}

// The server has changed a value.
function tickAccordion(id, checked) {
    const known = accordions.get(id);
    if (known) {
        known.tick(checked);
    }
}

function findAccordions() {
    for (const block of gradioApp().querySelectorAll(".input-accordion")) {
        const hidden = gradioApp().querySelector(`#${block.id}-checkbox input`);
        const known = accordions.get(block.id);
        if (hidden && !(known && known.block === block) && block.querySelector(":scope > .label-wrap")) {
            accordions.set(block.id, new TickedAccordion(block, hidden));
        }
    }
}

onUiLoaded(findAccordions);
onAfterUiUpdate(findAccordions);
