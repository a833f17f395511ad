// The accordion of Diversity Distillation on the page: what the server says of it (ui/page_state.py) is shown on its
// folds, in its controls and beside the host's own.
//
// As diversity_dt.mjs, this doorway imports each part by the URL that the host has loaded it by.

function part(name) {
    const plain = new URL(`./diversity_${name}.mjs`, import.meta.url).href;
    const loaded = Array.from(document.scripts).find((script) => script.src.split("?")[0] === plain);
    return import(loaded ? loaded.src : plain);
}

const NAMES = [
    ...["dt_elements", "dt_polling"],
    ...["panel_asking", "panel_fold", "panel_controls", "panel_host", "panel_own"],
    ...["panel_offers", "panel_list", "panel_whole", "panel_asks", "panel_files", "panel_tab"],
];
const parts = Object.assign({}, ...(await Promise.all(NAMES.map(part))));
const tabs = new Map();
const asking = new parts.Asking();

// Called after every change of the page: gradio may draw a tab anew, and then its old accordion is gone.
function attach() {
    for (const [accordion, tab] of tabs) {
        if (!accordion.isConnected) {
            tab.close();
            tabs.delete(accordion);
        }
    }
    for (const accordion of gradioApp().querySelectorAll(".input-accordion[id$=_diversity_distillation_enabled]")) {
        if (!tabs.has(accordion)) {
            tabs.set(accordion, new parts.Tab(accordion, asking, parts));
        }
        tabs.get(accordion).lookAround();
    }
    asking.press();
}

function tabOf(name) {
    return Array.from(tabs.values()).find((tab) => tab.name === name);
}

// Before anything comes of a click. The host sends its steps, but not what they stand in place of, to another tab.
// What scripts click, as to open the fold when a paste ticks the box, may come in the midst of what it leads to.
function clicked({ target, isTrusted }) {
    if (isTrusted) {
        tabs.forEach((tab) => tab.own.clicked(tab.isBox(target)));
    }
    const [from, to] = [tabOf("txt2img"), tabOf("img2img")];
    if (from && to && target.closest?.("#txt2img_send_to_img2img, #txt2img_send_to_inpaint")) {
        from.own.handOn("steps", to.own);
    }
}

document.addEventListener("click", clicked, { capture: true });
document.addEventListener("diversity-own", ({ detail }) => tabOf(detail.tab)?.own.changed(detail.names, detail.values));
document.addEventListener("diversity-box", ({ detail }) => {
    detail.back = tabOf(detail.tab)?.own.back(detail.ticked, detail.names, detail.values) ?? {};
});
document.addEventListener("diversity-changed", (event) => asking.wake(event.detail));
onUiLoaded(attach);
onAfterUiUpdate(attach);
onUiTabChange(() => asking.press());
attach();
