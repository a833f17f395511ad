// The secrets under which a page's generations are found: one for each tab of the host, made once for each tab of the
// browser, so that a page loaded again finds its last strip.

const STORED = "diversity-distillation.dt";
const CHANNEL = "diversity-distillation.dt";
const HOST_TABS = ["txt2img", "img2img"];
const ANSWER_MS = 250;

// 24 random bytes in URL-safe base64: 32 characters.
function secret() {
    const bytes = crypto.getRandomValues(new Uint8Array(24));
    return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}

function fresh() {
    return { page: secret(), ...Object.fromEntries(HOST_TABS.map((tab) => [tab, secret()])) };
}

function stored() {
    try {
        const found = JSON.parse(sessionStorage.getItem(STORED));
        const whole = found && ["page", ...HOST_TABS].every((name) => /^[\w-]{32}$/.test(found[name]));
        return whole ? found : null;
    } catch {
        return null;
    }
}

// A browser tab that is duplicated takes its storage along. So whoever finds stored keys asks the other tabs, by the
// page's name, which is no secret, whether one of them lives under it, and makes new ones if so, however late it
// answers.
export class PageKeys {
    constructor() {
        this.renewed = new EventTarget();
        this.#own = stored();
        // Whether the server may know of something under these keys.
        this.used = this.#own !== null;
        if (!this.used) {
            this.#renew();
        }
        addEventListener("pagehide", () => this.#hangUp());
        addEventListener("pageshow", (event) => event.persisted && this.#listen());
        this.#listen();
        this.ready = this.used ? this.#ask() : Promise.resolve();
    }

    #own;
    #channel = null;
    #asked = false;
    #decided = true;

    // The key now; before the other tabs had time to answer it is a new one.
    key(tab) {
        if (!this.#decided) {
            this.#renew();
        }
        return this.#own[tab];
    }

    // Whether the other tabs have had time to answer.
    get decided() {
        return this.#decided;
    }

    nonce() {
        return secret();
    }

    #listen() {
        if (typeof BroadcastChannel === "function") {
            this.#channel = new BroadcastChannel(CHANNEL);
            this.#channel.addEventListener("message", ({ data }) => this.#heard(data));
        }
    }

    #hangUp() {
        this.#channel?.close();
        this.#channel = null;
    }

    #ask() {
        this.#asked = true;
        this.#decided = false;
        this.#channel?.postMessage({ asks: this.#own.page });
        return new Promise((resolve) => {
            setTimeout(() => {
                this.#decided = true;
                resolve();
            }, ANSWER_MS);
        });
    }

    #heard(data) {
        if (data?.asks === this.#own.page) {
            this.#channel?.postMessage({ has: this.#own.page });
        } else if (data?.has === this.#own.page && this.#asked) {
            this.#renew();
        }
    }

    #renew() {
        this.#own = fresh();
        this.#asked = false;
        this.#decided = true;
        this.used = false;
        try {
            sessionStorage.setItem(STORED, JSON.stringify(this.#own));
        } catch {
            // Without storage the keys last as long as the page.
        }
        this.renewed.dispatchEvent(new Event("renewed"));
    }
}
