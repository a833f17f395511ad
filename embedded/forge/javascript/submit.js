// What of a submission's arguments is sent. gradio calls the page's function with the inputs and, after them, the present outputs.
"use strict";

// Cuts the outputs off: four where the fourth argument from the end is a list, the gallery; else three where the third is one.
function create_submit_args(args) {
    const given = Array.from(args);
    const outputs = [4, 3].find((count) => Array.isArray(given[given.length - count]));
    return outputs === undefined ? given : given.slice(0, -outputs);
}
