// The settings, as the hidden text box #settings_json has them: empty until the page is built, new whenever the box is written to.
"use strict";

var opts = {};

function watchSettings(textarea) {
    const property = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value");
    Object.defineProperty(textarea, "value", {
        configurable: true,
        get() {
            return property.get.call(this);
        },
        set(text) {
            const before = property.get.call(this);
            property.set.call(this, text);
            if (before !== text) {
                opts = JSON.parse(this.value);
            }
            runCallbacks(optionsChangedCallbacks);
        },
    });
}

onAfterUiUpdate(() => {
    const textarea = gradioApp().querySelector("#settings_json textarea");
    if (textarea && Object.keys(opts).length === 0) {
        opts = JSON.parse(textarea.value);
        runCallbacks(optionsAvailableCallbacks);
        runCallbacks(optionsChangedCallbacks);
        watchSettings(textarea);
    }
});
