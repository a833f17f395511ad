// What extensions' scripts find on every page: the page's root, hooks for changes.
"use strict";

// The element that holds the page (its shadow where it has one), or the document where there is none.
function gradioApp() {
    const app = document.querySelector("gradio-app");
    if (!app) {
        return document;
    }
    app.getElementById = (id) => document.getElementById(id);
    return app.shadowRoot || app;
}

function get_uiCurrentTab() {
    return gradioApp().querySelector("#tabs > .tab-nav > button.selected");
}

function get_uiCurrentTabContent() {
    return gradioApp().querySelector('#tabs > .tabitem[id^=tab_]:not([style*="display: none"])');
}

const uiUpdateCallbacks = [];
const uiAfterUpdateCallbacks = [];
const uiLoadedCallbacks = [];
const uiTabChangeCallbacks = [];
const optionsChangedCallbacks = [];
const optionsAvailableCallbacks = [];
let uiAfterUpdateTimeout = null;
let uiCurrentTab = null;

function onUiUpdate(callback) {
    uiUpdateCallbacks.push(callback);
}

function onAfterUiUpdate(callback) {
    uiAfterUpdateCallbacks.push(callback);
}

function onUiLoaded(callback) {
    uiLoadedCallbacks.push(callback);
}

function onUiTabChange(callback) {
    uiTabChangeCallbacks.push(callback);
}

function onOptionsChanged(callback) {
    optionsChangedCallbacks.push(callback);
}

function onOptionsAvailable(callback) {
    if (Object.keys(opts).length > 0) {
        callback();
    } else {
        optionsAvailableCallbacks.push(callback);
    }
}

function runCallbacks(queue, argument) {
    for (const callback of queue) {
        try {
            callback(argument);
        } catch (e) {
            console.error("error running callback", callback, e);
        }
    }
}

function scheduleAfterUiUpdateCallbacks() {
    clearTimeout(uiAfterUpdateTimeout);
    uiAfterUpdateTimeout = setTimeout(() => runCallbacks(uiAfterUpdateCallbacks), 200);
}

document.addEventListener("DOMContentLoaded", () => {
    let loaded = false;
    const observer = new MutationObserver((mutations) => {
        if (!loaded && gradioApp().querySelector("#txt2img_prompt")) {
            loaded = true;
            runCallbacks(uiLoadedCallbacks);
        }
        runCallbacks(uiUpdateCallbacks, mutations);
        scheduleAfterUiUpdateCallbacks();
        const tab = get_uiCurrentTab();
        if (tab && tab !== uiCurrentTab) {
            uiCurrentTab = tab;
            runCallbacks(uiTabChangeCallbacks);
        }
    });
    observer.observe(gradioApp(), { childList: true, subtree: true });
});

function updateInput(target) {
    target.dispatchEvent(new Event("input", { bubbles: true }));
}

function set_theme(theme) {
    if (!window.location.href.includes("?__theme=")) {
        window.location.replace(window.location.href + "?__theme=" + theme);
    }
}

function uiElementIsVisible(el) {
    return el === document || (getComputedStyle(el).display !== "none" && uiElementIsVisible(el.parentNode));
}

function uiElementInSight(el) {
    const { top, bottom } = el.getBoundingClientRect();
    return bottom > 0 && top < window.innerHeight;
}
