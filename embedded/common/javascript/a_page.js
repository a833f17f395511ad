// What extensions' scripts find on the page: its root, and hooks for its changes.
"use strict";

const hooks = { update: [], afterUpdate: [], loaded: [], tabChange: [] };
const onUiUpdate = (callback) => hooks.update.push(callback);
const onAfterUiUpdate = (callback) => hooks.afterUpdate.push(callback);
const onUiLoaded = (callback) => hooks.loaded.push(callback);
const onUiTabChange = (callback) => hooks.tabChange.push(callback);

const gradioApp = () => document.querySelector("gradio-app")?.shadowRoot || document;
const byId = (id) => gradioApp().querySelector("#" + id);
const tabButtons = () => [...gradioApp().querySelectorAll("#tabs > .tab-nav > button")];

function call(name, ...given) {
    for (const callback of hooks[name]) {
        try {
            callback(...given);
        } catch (error) {
            console.error(`A callback of "${name}" failed`, callback, error);
        }
    }
}

// One `afterUpdate` for any number of changes that follow close on each other.
const watch = { isLoaded: false, tab: undefined, timer: undefined };
function changed(mutations) {
    if (!watch.isLoaded && byId("txt2img_prompt")) {
        watch.isLoaded = true;
        call("loaded");
    }
    call("update", mutations);
    clearTimeout(watch.timer);
    watch.timer = setTimeout(() => call("afterUpdate"), 200);
    const chosen = tabButtons().find((button) => button.classList.contains("selected"));
    if (chosen && chosen !== watch.tab) {
        watch.tab = chosen;
        call("tabChange");
    }
}

document.addEventListener("DOMContentLoaded", () => {
    new MutationObserver(changed).observe(gradioApp(), { childList: true, subtree: true });
});

// Tooltips come with the page's configuration.
onUiLoaded(() => {
    for (const { props } of window.gradio_config?.components || []) {
        const element = props.webui_tooltip && props.elem_id && byId(props.elem_id);
        if (element) {
            element.title = props.webui_tooltip;
        }
    }
});
