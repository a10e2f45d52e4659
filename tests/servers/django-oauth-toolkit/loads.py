"""Fails where the packages, or those that they need, cannot be loaded by this Python."""

import django.core.wsgi  # noqa: F401
import jwcrypto.jwk  # noqa: F401
import oauth2_provider  # noqa: F401
import oauthlib.oauth2  # noqa: F401
import requests  # noqa: F401
