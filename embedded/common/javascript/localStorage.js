// What the page remembers in the browser. A browser that refuses it is no fault.
"use strict";

function withStorage(what, otherwise) {
    try {
        return what(window.localStorage);
    } catch (e) {
        console.warn("localStorage: " + e);
        return otherwise;
    }
}

function localSet(k, v) {
    withStorage((storage) => storage.setItem(k, v));
}

function localGet(k, def) {
    return withStorage((storage) => storage.getItem(k), def);
}

function localRemove(k) {
    withStorage((storage) => storage.removeItem(k));
}
