// What is known of the generations shown, from the server's answers. Nothing here touches the page.

const LETTERS = { base: "B", distilled: "D" };
const ROLES = { hybrid: "Hybrid", base: "Base alone", distilled: "Distilled alone" };

export const KINDS = { guided: "after guidance", cond: "conditional alone", uncond: "unconditional alone" };

function number(value, digits) {
    return value === null ? "unknown" : String(Number(value.toPrecision(digits)));
}

// What stands above a frame's column, as on the contact sheet, and what is read out.
function labels(frame) {
    const step = `${LETTERS[frame.phase] || ""} step ${frame.step + 1}/${frame.steps}`.trim();
    const timestep = frame.timestep === null ? "unknown" : frame.timestep.toFixed(0);
    const by = frame.phase ? `${frame.phase} model ${frame.model}` : frame.model;
    const noise = `timestep ${timestep}, sigma ${number(frame.sigma, 4)}, CFG ${number(frame.cfg, 3)}`;
    return {
        step: frame.switched ? `${step} switch` : step,
        noise: `t ${timestep}  CFG ${number(frame.cfg, 3)}`,
        sigma: `sigma ${number(frame.sigma, 4)}`,
        model: frame.model,
        spoken: `step ${frame.step + 1} of ${frame.steps}${frame.switched ? ", switch" : ""}, ${noise}, ${by}`,
    };
}

function counted(count, what) {
    return count ? [`${count} ${count === 1 ? "frame" : "frames"} ${what}`] : [];
}

// One generation. `frames` are those held, by number, oldest first.
export class Generation {
    constructor(id) {
        this.id = id;
        this.frames = new Map();
        this.cursor = 0;
    }

    apply(told) {
        for (const frame of told.frames) {
            this.frames.set(frame.number, { ...frame, labels: labels(frame) });
        }
        const kept = new Set(told.kept);
        for (const held of this.frames.keys()) {
            if (!kept.has(held)) {
                this.frames.delete(held);
            }
        }
        Object.assign(this, {
            cursor: told.cursor,
            state: told.state,
            group: told.group,
            role: told.role,
            missing: told.missing,
            decoder: told.decoder || { name: "", note: "" },
            stoppable: Boolean(told.stoppable),
            left: [
                ...counted(told.dropped, "dropped"),
                ...counted(told.thinned, "left out as asked"),
                ...counted(told.missed, "not recorded"),
            ].join(", "),
        });
    }

    get running() {
        return this.state === "running";
    }

    get title() {
        return ROLES[this.role] || "";
    }

    get newest() {
        return Array.from(this.frames.values()).at(-1) || null;
    }

    holds(kind) {
        return Array.from(this.frames.values()).some((frame) => frame.kinds.includes(kind));
    }

    picture(frame, image, kind) {
        return `./diversity-distillation/v1/dt/${this.id}/frames/${frame.number}/${image}.jpg?kind=${kind}&side=256`;
    }

    fullPicture(frame, image, kind) {
        return `./diversity-distillation/v1/dt/${this.id}/frames/${frame.number}/${image}.png?kind=${kind}`;
    }
}

// The page's newest generation, or those that are compared with one another.
export class Strips {
    constructor() {
        this.generations = [];
        this.shown = []; // until those hold a frame or have ended, what was there before
        this.gone = false;
    }

    // Where to ask for what is new.
    get url() {
        const cursors = this.generations.map(({ cursor, id }) => `since=${cursor}&of=${id}`);
        return ["./diversity-distillation/v1/dt/newest", cursors.join("&")].filter(Boolean).join("?");
    }

    // Returns whether other generations are shown than before.
    apply(answer) {
        this.gone = answer.generations.length === 0 && this.generations.length > 0;
        if (this.gone) {
            this.generations.forEach((generation) => Object.assign(generation, { state: "gone", stoppable: false }));
            return false;
        }
        const before = new Map(this.generations.map((generation) => [generation.id, generation]));
        this.generations = answer.generations.map((told) => {
            const generation = before.get(told.id) || new Generation(told.id);
            generation.apply(told);
            return generation;
        });
        const old = this.shown;
        if (old.length === 0 || this.generations.some(({ newest, running }) => newest !== null || !running)) {
            this.shown = this.generations;
        }
        return this.shown.length !== old.length || !this.shown.every(({ id }) => old.some((other) => other.id === id));
    }

    // Whether what is shown is not what came last.
    get waiting() {
        return this.shown.length > 0 && this.shown[0] !== this.generations[0];
    }

    forget() {
        this.generations = [];
        this.shown = [];
        this.gone = false;
    }

    get running() {
        return this.generations.find((generation) => generation.running) || null;
    }

    get compared() {
        return this.generations.some((generation) => generation.role);
    }
}
