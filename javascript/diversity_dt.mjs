// The DT-preview on the page: every tab's root (ui/preview.py) gets a panel while it is on the page.
//
// The hosts load each .mjs file here under a URL that ends with its time stamp. A plain `import "./other.mjs"` would
// leave the stamp out: the browser would fetch and run the file a second time, and after an update might take an old
// one from its cache beside a new one. So this doorway imports each part by the very URL that the host has loaded it
// by, and hands the parts to one another; none of the others imports anything.

function part(name) {
    const plain = new URL(`./diversity_dt_${name}.mjs`, import.meta.url).href;
    const loaded = Array.from(document.scripts).find((script) => script.src.split("?")[0] === plain);
    return import(loaded ? loaded.src : plain);
}

const NAMES = [
    ...["elements", "keys", "polling", "strips", "pictures", "grid", "viewer", "curve"],
    ...["actions", "comparing", "words", "panel"],
];
const parts = Object.assign({}, ...(await Promise.all(NAMES.map(part))));
const keys = new parts.PageKeys();
const panels = new Map();

// Called after every change of the page: gradio may draw a tab anew, and then its old root is gone.
function attach() {
    for (const [root, panel] of panels) {
        if (!root.isConnected) {
            panel.close();
            panels.delete(root);
        }
    }
    for (const root of gradioApp().querySelectorAll(".diversity-dt")) {
        if (!panels.has(root)) {
            panels.set(root, new parts.Panel(root, keys, parts));
        }
        panels.get(root).lookAround();
    }
}

onUiLoaded(attach);
onAfterUiUpdate(attach);
attach();
