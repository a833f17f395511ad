// What of a submission's arguments is sent. gradio calls the page's function with the inputs and, after them, the present outputs.
"use strict";

// Empties the third argument from the end where it is a list, to spare the server a gallery. txt2img and img2img have four outputs, so
// what is third there is text, and the gallery goes along: the host's trap.
function create_submit_args(args) {
    const sent = Array.from(args);
    const place = sent.length - 3;
    if (Array.isArray(sent[place])) {
        sent[place] = null;
    }
    return sent;
}
