// An accordion with a checkbox in its header. The hidden gradio checkbox "<id>-checkbox" holds the value. Folding ticks and unticks,
// until the user has clicked the box; from then on the two are independent.
"use strict";

const accordions = new Map();

// What sets the value of an accordion, and as long as the two are tied its fold.
function tickedAccordion(block, hidden) {
    const header = block.querySelector(":scope > .label-wrap");
    const isOpen = () => header.classList.contains("open");
    const className = `${hidden.className} input-accordion-checkbox`;
    const id = `${block.id}-visible-checkbox`;
    const box = Object.assign(document.createElement("input"), { type: "checkbox", id, className, checked: isOpen() });
    let isTied = true;
    const tick = (checked) => {
        box.checked = checked;
        if (isTied && isOpen() !== checked) {
            header.click();
        }
        hidden.checked = checked;
        hidden.dispatchEvent(new Event("input", { bubbles: true }));
    };
    header.prepend(box);
    const extra = byId(`${block.id}-extra`);
    if (extra) {
        header.lastElementChild.before(extra);
    }
    // By these two names extensions find it.
    block.visibleCheckbox = box;
    block.onVisibleCheckboxChange = () => tick(box.checked);
    box.addEventListener("click", (event) => {
        event.stopPropagation();
        isTied = false;
    });
    box.addEventListener("input", block.onVisibleCheckboxChange);
    const folded = () => {
        block.classList.toggle("input-accordion-open", isOpen());
        if (isTied) {
            tick(isOpen());
        }
    };
    new MutationObserver(folded).observe(header, { attributeFilter: ["class"] });
    return { block, tick };
}

// The server has changed a value.
function tickAccordion(id, checked) {
    accordions.get(id)?.tick(checked);
}

function findAccordions() {
    for (const block of gradioApp().querySelectorAll(".input-accordion")) {
        const hidden = gradioApp().querySelector(`#${block.id}-checkbox input`);
        if (hidden && accordions.get(block.id)?.block !== block && block.querySelector(":scope > .label-wrap")) {
            accordions.set(block.id, tickedAccordion(block, hidden));
        }
    }
}

onUiLoaded(findAccordions);
onAfterUiUpdate(findAccordions);
