"""django-oauth-toolkit on a free port of the loopback, for tests.

The program writes one line of JSON when the server is ready. The program ends with its standard input, and
therefore with the test that started it.

DATABASE          the file of the database, which the program creates
CLIENTS           [{"id": .., "secret": ..}, ..]; the first client owns the sessions
PORT              0 for a free port
ACCESS_TTL, REFRESH_TTL   seconds
ROTATE            1: each refresh token is valid for one use; 0: an exchange returns the same refresh token
REUSE_PROTECTION  1: a second use revokes the family
GRACE             the seconds after the first use in which a used refresh token returns the same pair again

POST /test/session issues the first pair of a session, as a sign-in does. POST /test/refresh-token reports whether
a refresh token is active; this server's introspection endpoint reports that of access tokens only.
"""

import json
import os
import socketserver
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import django
from django.conf import settings


def number(name):
    return int(os.environ[name])


APPS = ["auth", "contenttypes", "oauth2_provider"]

settings.configure(
    SECRET_KEY="for tests",
    ALLOWED_HOSTS=["127.0.0.1"],
    USE_TZ=True,
    ROOT_URLCONF=__name__,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    # The tables are made from the models, which takes a tenth of the time of all migrations.
    MIGRATION_MODULES={app: None for app in APPS},
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["DATABASE"],
            "OPTIONS": {
                # Transactions that read first and write later fail at once with "database is locked", whatever
                # the timeout. Transactions that begin as writers wait for their turn.
                "transaction_mode": "IMMEDIATE",
                "timeout": 30,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
            },
        }
    },
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"stderr": {"class": "logging.StreamHandler"}},
        "loggers": {"django.request": {"handlers": ["stderr"], "level": "ERROR", "propagate": False}},
    },
    OAUTH2_PROVIDER={
        "ACCESS_TOKEN_EXPIRE_SECONDS": number("ACCESS_TTL"),
        "REFRESH_TOKEN_EXPIRE_SECONDS": number("REFRESH_TTL"),
        "ROTATE_REFRESH_TOKEN": number("ROTATE") == 1,
        "REFRESH_TOKEN_REUSE_PROTECTION": number("REUSE_PROTECTION") == 1,
        "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": number("GRACE"),
        "SCOPES": {"records": "import records", "introspection": "look at tokens"},
    },
)
django.setup()

from datetime import timedelta  # noqa: E402
from uuid import uuid4  # noqa: E402

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import transaction  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils import timezone  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402
from oauth2_provider import views  # noqa: E402
from oauth2_provider.models import AccessToken, Application, RefreshToken  # noqa: E402
from oauthlib.common import generate_token  # noqa: E402


@csrf_exempt
@transaction.atomic
def sign_in(request):
    user = User.objects.get(username="ada")
    application = Application.objects.order_by("pk").first()
    access_token = AccessToken.objects.create(
        user=user,
        application=application,
        token=generate_token(),
        expires=timezone.now() + timedelta(seconds=number("ACCESS_TTL")),
        scope="records",
    )
    refresh_token = RefreshToken.objects.create(
        user=user,
        application=application,
        token=generate_token(),
        access_token=access_token,
        token_family=uuid4(),
    )
    return JsonResponse(
        {
            "access_token": access_token.token,
            "refresh_token": refresh_token.token,
            "expires_in": number("ACCESS_TTL"),
        }
    )


@csrf_exempt
def refresh_token(request):
    token = RefreshToken.objects.filter(token=request.POST["token"], revoked=None).first()
    is_active = (
        token is not None
        and token.access_token is not None
        # A refresh token expires this long after its access token.
        and token.access_token.expires + timedelta(seconds=number("REFRESH_TTL")) > timezone.now()
    )
    return JsonResponse({"active": is_active})


urlpatterns = [
    path("token/", views.TokenView.as_view()),
    path("revoke_token/", views.RevokeTokenView.as_view()),
    path("introspect/", views.IntrospectTokenView.as_view()),
    path("test/session", sign_in),
    path("test/refresh-token", refresh_token),
]


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # Many callers connect at once. A connection that does not fit into the queue is answered after a second.
    request_queue_size = 512


class Handler(WSGIRequestHandler):
    def address_string(self):
        return self.client_address[0]

    def log_message(self, *args):
        pass


def end_with_standard_input():
    sys.stdin.buffer.read()
    os._exit(0)


def main():
    call_command("migrate", verbosity=0, run_syncdb=True)
    User.objects.create_user("ada")
    for client in json.loads(os.environ["CLIENTS"]):
        Application.objects.create(
            client_id=client["id"],
            client_secret=client["secret"],
            # A hashed secret costs 0.2 s of processor time for each request.
            hash_client_secret=False,
            client_type=Application.CLIENT_CONFIDENTIAL,
            authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
            redirect_uris="http://127.0.0.1/",
        )
    server = Server(("127.0.0.1", number("PORT")), Handler)
    server.set_app(get_wsgi_application())
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    ready = {
        "token_url": f"{url}/token/",
        "revocation_url": f"{url}/revoke_token/",
        "introspection_url": f"{url}/introspect/",
        "refresh_introspection_url": f"{url}/test/refresh-token",
        "session_url": f"{url}/test/session",
    }
    print(json.dumps(ready), flush=True)
    server.serve_forever()


# Django imports this file a second time, for its URLs.
if __name__ == "__main__":
    sys.modules["server"] = sys.modules["__main__"]
    main()
