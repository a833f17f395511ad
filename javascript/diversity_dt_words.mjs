// What the DT-preview says of a generation: how far it is, how it ended, and on its fold what is recorded.

export const HINT =
    "Tick DT-preview and generate: what the model believes the image will be appears here, step by step.";
const ENDS = {
    done: "Finished.",
    interrupted: "Ended early.",
    failed: "Failed.",
    gone: "The server does not keep these frames any more.",
};
const RUNS = 3;

// comparing: whether a comparison lasts.
export function progressOf({ generations, running, compared }, comparing) {
    const name = (generation) => (generation.title ? ` (${generation.title.toLowerCase()})` : "");
    const which = compared && running ? `Comparing, run ${generations.length} of ${RUNS}${name(running)}. ` : "";
    if (running) {
        const { newest } = running;
        const step = newest ? `Step ${newest.step + 1} of ${newest.steps}, ${newest.section}.` : "Starting.";
        return which + step;
    }
    if (comparing) {
        return `Comparing, ${generations.filter(({ role }) => role).length} of ${RUNS} runs made.`;
    }
    return generations.length ? ENDS[generations.at(-1).state] || "" : HINT;
}

// What is recorded, and where it goes, for whoever has folded the panel. While it is folded nothing is asked for.
export function foldOf({ ticked, busy, saves, folder }, running, progress) {
    if (!ticked) {
        return "";
    }
    if (running || busy) {
        return running ? `Recording. ${progress}` : "Recording.";
    }
    const where = folder ? `under ${folder}` : "beside the images";
    return saves ? `Records, and saves strips ${where}` : "Records; strips are saved by the button alone";
}
