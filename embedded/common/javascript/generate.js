// Buttons Generate, Interrupt and Skip, the task that a page started last, and what is selected in the gallery.
"use strict";

function all_gallery_buttons() {
    const thumbnails = gradioApp().querySelectorAll('[style="display: block;"].tabitem div[id$=_gallery].gradio-gallery .thumbnails > .thumbnail-small');
    return Array.from(thumbnails);
}

function selected_gallery_button() {
    return all_gallery_buttons().find((element) => element.classList.contains("selected")) || null;
}

function selected_gallery_index() {
    return all_gallery_buttons().findIndex((element) => element.classList.contains("selected"));
}

function extract_image_from_gallery(gallery) {
    if (gallery.length === 0) {
        return [null];
    }
    const index = selected_gallery_index();
    return [[gallery[index < 0 || index >= gallery.length ? 0 : index]]];
}

function switch_to_tab(name) {
    const labels = Array.from(gradioApp().querySelectorAll("#tabs > .tab-nav > button"));
    const button = labels.find((x) => x.textContent.trim() === name);
    if (button) {
        button.click();
    }
    return Array.from(arguments).slice(1);
}

function switch_to_txt2img() {
    return switch_to_tab("txt2img", ...arguments);
}

// Of img2img's own tabs, the one for a whole picture or the one with a mask.
function switch_to_picture(number, values) {
    const shown = switch_to_tab("img2img", ...values);
    gradioApp().querySelectorAll("#mode_img2img button[role=tab], #mode_img2img > .tab-nav > button")[number].click();
    return shown;
}

function switch_to_img2img() {
    return switch_to_picture(0, arguments);
}

function switch_to_inpaint() {
    return switch_to_picture(1, arguments);
}

// Over Generate lie Interrupt, or what says that it was clicked, and Skip.
function setSubmitButtonsVisibility(tabname, showInterrupt, showSkip, showInterrupting) {
    const shown = { interrupt: showInterrupt, skip: showSkip, interrupting: showInterrupting };
    for (const [name, visible] of Object.entries(shown)) {
        gradioApp().getElementById(`${tabname}_${name}`).style.display = visible ? "block" : "none";
    }
}

function showSubmitButtons(tabname, show) {
    setSubmitButtonsVisibility(tabname, !show, !show, false);
}

function showSubmitInterruptingPlaceholder(tabname) {
    setSubmitButtonsVisibility(tabname, false, true, true);
}

function showRestoreProgressButton(tabname, show) {
    const button = gradioApp().getElementById(tabname + "_restore_progress");
    if (button) {
        button.style.setProperty("display", show ? "flex" : "none", "important");
    }
}

function followTask(tabname, id, atEnd, ...more) {
    const gallery = gradioApp().getElementById(tabname + "_gallery");
    requestProgress(id, gradioApp().getElementById(tabname + "_gallery_container"), gallery, atEnd, ...more);
}

// The task's id stays in the browser until the end is seen, so that the next page can ask for its result.
function submitTo(tabname, args) {
    const id = randomId();
    showSubmitButtons(tabname, false);
    localSet(tabname + "_task_id", id);
    followTask(tabname, id, () => {
        showSubmitButtons(tabname, true);
        localRemove(tabname + "_task_id");
        showRestoreProgressButton(tabname, false);
    });
    const sent = create_submit_args(args);
    sent[0] = id;
    return sent;
}

function submit() {
    return submitTo("txt2img", arguments);
}

function submit_img2img() {
    return submitTo("img2img", arguments);
}

// For a page that was reloaded meanwhile. The id is kept: only the end of another generation takes it away.
function restoreProgress(tabname) {
    showRestoreProgressButton(tabname, false);
    const id = localGet(tabname + "_task_id");
    if (id) {
        showSubmitInterruptingPlaceholder(tabname);
        followTask(tabname, id, () => showSubmitButtons(tabname, true), null, 0);
    }
    return id;
}

function restoreProgressTxt2img() {
    return restoreProgress("txt2img");
}

function restoreProgressImg2img() {
    return restoreProgress("img2img");
}

// gradio 4 draws the page part by part, so that the buttons may come after the prompt.
const unseenTabs = new Set(["txt2img", "img2img"]);

function offerRestoring() {
    for (const tabname of unseenTabs) {
        if (gradioApp().getElementById(tabname + "_restore_progress")) {
            showRestoreProgressButton(tabname, localGet(tabname + "_task_id"));
            unseenTabs.delete(tabname);
        }
    }
}

onUiLoaded(offerRestoring);
onAfterUiUpdate(offerRestoring);

function setRandomSeed(elem_id) {
    const input = gradioApp().querySelector("#" + elem_id + " input");
    if (input) {
        input.value = "-1";
        updateInput(input);
    }
    return [];
}

function restart_reload() {
    document.body.innerHTML = '<h1 class="reloading">Reloading...</h1>';
    const ping = () => fetch("./internal/ping").then((r) => (r.ok ? location.reload() : setTimeout(ping, 500))).catch(() => setTimeout(ping, 500));
    setTimeout(ping, 2000);
    return [];
}

document.addEventListener("keydown", (e) => {
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey || e.altKey)) {
        const tab = get_uiCurrentTabContent();
        const button = tab && tab.querySelector("button[id$=_generate]");
        if (button) {
            button.click();
            e.preventDefault();
        }
    }
});

// The infotext below the gallery follows the picture that is selected.
let lastSelected = {};
onAfterUiUpdate(() => {
    const tab = get_uiCurrentTabContent();
    const name = tab && tab.id.replace("tab_", "");
    const index = selected_gallery_index();
    if (name && index !== -1 && lastSelected[name] !== index) {
        lastSelected[name] = index;
        const button = gradioApp().getElementById(name + "_generation_info_button");
        if (button) {
            button.click();
        }
    }
});
