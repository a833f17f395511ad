// Building elements once and changing their attributes and texts later.
//
// The hosts watch the whole page for added and removed nodes and wake every extension for each; so after something is
// built, only attributes and the data of text nodes change.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
        if (name.startsWith("on")) {
            element.addEventListener(name.slice(2), value);
        } else if (value !== null && value !== false) {
            element.setAttribute(name, value === true ? "" : value);
        }
    }
    element.append(...children);
    return element;
}

// `null` and `false` leave an attribute out; "onclick" and the like add a listener.
export function make(tag, attributes = {}, ...children) {
    return filled(document.createElement(tag), attributes, children);
}

export function makeSvg(tag, attributes = {}, ...children) {
    return filled(document.createElementNS(SVG, tag), attributes, children);
}

// An element with one text that `say` changes.
export function makeText(tag, attributes = {}, text = "") {
    return make(tag, attributes, document.createTextNode(text));
}

export function say(element, text) {
    if (element.firstChild.data !== text) {
        element.firstChild.data = text;
    }
}

// Says a sentence, and hides the element while there is none.
export function sayIfAny(element, text) {
    say(element, text);
    show(element, text !== "");
}

export function show(element, shown) {
    if (element.hidden === shown) {
        element.hidden = !shown;
    }
}

export function mark(element, name, value) {
    if (value === null) {
        element.removeAttribute(name);
    } else if (element.getAttribute(name) !== value) {
        element.setAttribute(name, value);
    }
}
