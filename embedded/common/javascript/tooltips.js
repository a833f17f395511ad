// Components' `tooltip` arrives in the page's configuration as the property `webui_tooltip`.
"use strict";

onUiLoaded(() => {
    const config = window.gradio_config;
    for (const component of (config && config.components) || []) {
        if (component.props.webui_tooltip && component.props.elem_id) {
            const element = gradioApp().getElementById(component.props.elem_id);
            if (element) {
                element.title = component.props.webui_tooltip;
            }
        }
    }
});
