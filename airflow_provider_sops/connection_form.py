# SPDX-License-Identifier: Apache-2.0
"""The extra fields of the connection form as widgets of Flask AppBuilder, for Airflow before 3.2."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_sops.connection import EXTRA_FIELDS


def form_widgets() -> dict[str, Any]:
    """Make the form's extra fields.

    Airflow 2.11 draws them and takes what they post. Airflow 3.0 and 3.1 put classes of their own in the place of those
    that are imported here, and read only labels, help and choices, and which field is a secret.

    :return: an unbound WTForms field by its name in extra.
    """
    from flask_appbuilder.fieldwidgets import (  # type: ignore[import-not-found, unused-ignore]
        BS3PasswordFieldWidget,
        BS3TextFieldWidget,
    )
    from flask_babel import lazy_gettext  # type: ignore[import-not-found, unused-ignore]
    from wtforms import PasswordField, StringField  # type: ignore[import-untyped, unused-ignore]
    from wtforms.validators import Optional, any_of  # type: ignore[import-untyped, unused-ignore]

    class SecretWidget(BS3PasswordFieldWidget):  # type: ignore[misc, unused-ignore]
        """A hidden field that posts Airflow's word for "unchanged", or saving another field would delete the secret."""

        def __init__(self) -> None:
            super().__init__()
            self.hide_value = False  # what is shown is chosen below, and is never the secret

        def __call__(self, field: Any, **kwargs: Any) -> Any:
            from airflow.www.views import SENSITIVE_FIELD_PLACEHOLDER  # type: ignore[import-not-found, unused-ignore]

            # what was typed into a form that is shown again with an error is to be typed again
            is_saved = field.data and (not field.raw_data or field.data == SENSITIVE_FIELD_PLACEHOLDER)
            return super().__call__(field, value=SENSITIVE_FIELD_PLACEHOLDER if is_saved else "", **kwargs)

    class TextWidget(BS3TextFieldWidget):  # type: ignore[misc, unused-ignore]
        """A text field that shows what was saved as JSON, such as proxies, as JSON and not as Python."""

        def __call__(self, field: Any, **kwargs: Any) -> Any:
            if field.data and not isinstance(field.data, str):
                kwargs["value"] = json.dumps(field.data)
            return super().__call__(field, **kwargs)

    return {
        name: (PasswordField if field.get("secret") else StringField)(
            lazy_gettext(field["label"]),
            validators=[Optional(), any_of(field["enum"])] if "enum" in field else [],
            widget=SecretWidget() if field.get("secret") else TextWidget(),
            description=field["description"],
        )
        for name, field in EXTRA_FIELDS.items()
    }
