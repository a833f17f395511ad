// Asking the server again and again, as long as there is something to expect: one request at a time, one timer at most.

const PATIENCE_MS = 20000;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 15000;
const GIVE_UP_AFTER = 20;

export function retryAfter(answer, otherwise) {
    const seconds = Number(answer.headers.get("Retry-After"));
    return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : otherwise;
}

// Whether the same question may be answered later: work is under way, or there is too much of it.
export function comesLater(answer) {
    return answer.status === 202 || ([429, 503].includes(answer.status) && answer.headers.has("Retry-After"));
}

// The server's sentence on what is wrong.
export async function sentenceOf(answer) {
    try {
        const said = await answer.json();
        return said.error || said.wait || said.detail || `The server answers ${answer.status}.`;
    } catch {
        return `The server answers ${answer.status}.`;
    }
}

export class Poller {
    // request: () -> {url, headers}. answered(json) is called with what is new. pause: () -> milliseconds until the
    // next request, null if there is nothing to expect. able: () -> whether anybody could see the answer.
    // trouble(sentence) is called with "" once it is over. early: whether it may ask before the server has its routes,
    // as the hosts show their page first.
    constructor({ request, answered, pause, able, trouble, early = false }) {
        this.#request = request;
        this.#answered = answered;
        this.#pause = pause;
        this.#able = able;
        this.#trouble = trouble;
        this.#early = early;
    }

    #request;
    #answered;
    #pause;
    #able;
    #trouble;
    #early;
    #timer = 0;
    #asking = false;
    #again = false;
    #closed = false;
    #due = false;
    #failures = 0;
    #seen = { url: "", etag: "" };

    // Ask now; with a request under way, once more after it.
    wake() {
        if (this.#closed) {
            return;
        }
        if (this.#asking) {
            this.#again = true;
            return;
        }
        clearTimeout(this.#timer);
        this.#timer = 0;
        this.#ask();
    }

    // Somebody can see the answer again.
    resume() {
        if (this.#due) {
            this.wake();
        }
    }

    get idle() {
        return !this.#asking && this.#timer === 0;
    }

    close() {
        this.#closed = true;
        clearTimeout(this.#timer);
        this.#timer = 0;
    }

    async #ask() {
        this.#timer = 0;
        this.#due = !this.#able();
        if (this.#due) {
            return;
        }
        this.#asking = true;
        this.#again = false;
        const pause = await this.#exchange();
        this.#asking = false;
        if (!this.#closed && (this.#again || pause !== null)) {
            this.#timer = setTimeout(() => this.#ask(), this.#again ? 0 : pause);
        }
    }

    async #exchange() {
        const { url, headers } = this.#request();
        const known = this.#seen.url === url && this.#seen.etag ? { "If-None-Match": this.#seen.etag } : {};
        let answer, told;
        try {
            answer = await fetch(url, {
                headers: { ...headers, ...known },
                cache: "no-store",
                signal: AbortSignal.timeout(PATIENCE_MS),
            });
            told = answer.status === 200 ? await answer.json() : null;
        } catch {
            return this.#failed("The server does not answer", null);
        }
        if (this.#closed) {
            return null;
        }
        if (!told && answer.status !== 304) {
            return this.#failed(await sentenceOf(answer), answer);
        }
        if (this.#failures) {
            this.#failures = 0;
            this.#trouble("");
        }
        if (told) {
            this.#seen = { url, etag: answer.headers.get("ETag") || "" };
            this.#answered(told);
        }
        return this.#pause();
    }

    #failed(sentence, answer) {
        if (this.#closed) {
            return null;
        }
        this.#failures += 1;
        const soon = [429, ...(this.#early ? [404] : [])];
        const final = answer !== null && answer.status < 500 && !soon.includes(answer.status);
        if (final || this.#failures >= GIVE_UP_AFTER) {
            this.#trouble(answer ? sentence : `${sentence}; press Generate or load the page again to go on.`);
            this.#failures = 1; // the next good answer says that the trouble is over
            return null;
        }
        const pause = Math.min(FIRST_PAUSE_MS * 2 ** (this.#failures - 1), LONGEST_PAUSE_MS);
        this.#trouble(answer ? sentence : `${sentence}; asking again.`);
        return answer ? retryAfter(answer, pause) : pause;
    }
}
