"""Fails when this Python cannot load the packages or their dependencies."""

import django.core.wsgi  # noqa: F401
import jwcrypto.jwk  # noqa: F401
import oauth2_provider  # noqa: F401
import oauthlib.oauth2  # noqa: F401
import requests  # noqa: F401
