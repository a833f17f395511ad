// An accordion with a checkbox in its header. The hidden gradio checkbox "<id>-checkbox" holds the value. Opening or closing the
// accordion ticks or unticks it, until the user has clicked the checkbox itself; from then on the two are independent.
"use strict";

function inputAccordionChecked(id, checked) {
    const accordion = gradioApp().getElementById(id);
    if (accordion && accordion.visibleCheckbox) {
        accordion.visibleCheckbox.checked = checked;
        accordion.onVisibleCheckboxChange();
    }
}

function setupAccordion(accordion) {
    const header = accordion.querySelector(".label-wrap");
    const hidden = gradioApp().querySelector("#" + accordion.id + "-checkbox input");
    if (!header || !hidden || accordion.visibleCheckbox) {
        return;
    }
    let linked = true;
    const isOpen = () => header.classList.contains("open");
    const visible = document.createElement("input");
    visible.type = "checkbox";
    visible.id = accordion.id + "-visible-checkbox";
    visible.className = hidden.className + " input-accordion-checkbox";
    visible.checked = isOpen();
    accordion.visibleCheckbox = visible;
    accordion.onVisibleCheckboxChange = () => {
        if (linked && isOpen() !== visible.checked) {
            header.click();
        }
        hidden.checked = visible.checked;
        updateInput(hidden);
    };
    const span = header.querySelector("span");
    header.insertBefore(visible, span);
    const extra = gradioApp().querySelector("#" + accordion.id + "-extra");
    if (extra) {
        header.insertBefore(extra, header.lastElementChild);
    }
    visible.addEventListener("click", (event) => {
        linked = false;
        event.stopPropagation();
    });
    visible.addEventListener("input", accordion.onVisibleCheckboxChange);
    new MutationObserver(() => {
        accordion.classList.toggle("input-accordion-open", isOpen());
        if (linked) {
            visible.checked = isOpen();
            accordion.onVisibleCheckboxChange();
        }
    }).observe(header, { attributes: true, attributeFilter: ["class"] });
}

function setupAccordions() {
    for (const accordion of gradioApp().querySelectorAll(".input-accordion")) {
        setupAccordion(accordion);
    }
}

onUiLoaded(setupAccordions);
onAfterUiUpdate(setupAccordions);
