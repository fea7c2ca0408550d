from __future__ import annotations

import asyncio

import pytest

from pskernel.errors import AuthenticationFailed, PromptUnavailable, TargetError
from pskernel.questions import NobodyToAsk, Question
from pskernel.transports.ssh.login import Deadline, Login, SSHEndpoint, Unreached, how_it_left, is_password_prompt
from tests.parts.sshd import Answers


class Stored:
    """A secret that counts how often it was looked at."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.looks = 0

    def reveal(self) -> str:
        self.looks += 1
        return self.value


def login(asker: object, secret: Stored | None = None) -> Login:
    return Login("me@server01", asker=asker, deadline=Deadline(30), secret=secret)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("host", "-oProxyCommand=x"),
        ("host", ""),
        ("host", "a b"),
        ("host", "a\nb"),
        ("user", "-l"),
        ("user", "a\x00b"),
        ("subsystem", "-x"),
        ("subsystem", "a b"),
    ],
)
def test_endpoint_refuses_what_ssh_could_take_for_an_option(field: str, value: str) -> None:
    with pytest.raises(TargetError, match=f"is not a valid SSH {field}"):
        SSHEndpoint(**{"host": "server01", field: value})  # type: ignore[arg-type]


def test_login_command() -> None:
    assert SSHEndpoint("server01").login_command == "ssh server01"
    full = SSHEndpoint("server01", 2222, "first last", ssh_config="/my config")
    assert full.login_command == "ssh -F '/my config' -p 2222 'first last@server01'"
    options = SSHEndpoint("server01", known_hosts="/h/known_hosts", proxy_jump="me@jump:2222")
    assert options.login_command == "ssh -o UserKnownHostsFile=/h/known_hosts -o ProxyJump=me@jump:2222 server01"
    strange = SSHEndpoint("server01", known_hosts="/my known 100%h")
    assert strange.login_command == "ssh -o 'UserKnownHostsFile=\"/my known 100%%h\"' server01"


def test_what_an_exit_status_means() -> None:
    assert how_it_left(0, "powershell") == ""
    assert how_it_left(1, "powershell") == "The remote program exited with status 1."
    assert how_it_left(127, "pwsh7") == (
        "The remote program exited with status 127. That is how the server's shell says that it did not find the "
        "program. Install PowerShell 7 there, and have sshd_config name it by its whole path:\n"
        "Subsystem pwsh7 /usr/bin/pwsh -sshs -NoLogo -NoProfile"
    )


def test_password_is_asked_for_three_times_at_most() -> None:
    async def main() -> None:
        asker = Answers("a", "b", "c", "d")
        me = login(asker)
        assert [await me.password() for _ in range(5)] == ["a", "b", "c", None, None]
        assert asker.questions == [Question("me@server01's password: ", secret=True)] * 3

    asyncio.run(main())


def test_stored_password_is_tried_once_before_anybody_is_asked() -> None:
    async def main() -> None:
        asker, secret = Answers("a", "b", "c", "d"), Stored("stored")
        me = login(asker, secret)
        assert [await me.password() for _ in range(5)] == ["stored", "a", "b", "c", None]
        assert secret.looks == 1

    asyncio.run(main())


def test_stored_password_answers_the_password_but_not_the_code() -> None:
    async def main() -> None:
        asker = Answers("123456", "again", "654321")
        me = login(asker, Stored("stored"))
        assert me.begin_challenges()
        assert await me.answers("", [("Password: ", False)]) == ["stored"]
        assert await me.answers("", [("Verification code: ", True)]) == ["123456"]
        assert me.begin_challenges()
        assert await me.answers("", [("Password: ", False)]) == ["again"]
        assert await me.answers("", [("Verification code: ", True)]) == ["654321"]
        assert asker.questions == [
            Question("(me@server01) Verification code: ", secret=False),
            Question("(me@server01) Password: ", secret=True),
            Question("(me@server01) Verification code: ", secret=False),
        ]

    asyncio.run(main())


@pytest.mark.parametrize(
    "prompt", ["Password: ", "password for me: ", "Passwort:", "Mot de passe :", "Contraseña: ", "密码:"]
)
def test_prompts_for_a_password(prompt: str) -> None:
    assert is_password_prompt(prompt)


@pytest.mark.parametrize(
    "prompt",
    ["Verification code: ", "One-time password (OATH) for `me': ", "OTP: ", "Passcode or option (1-3): ", "Name: "],
)
def test_prompts_for_something_else(prompt: str) -> None:
    assert not is_password_prompt(prompt)


def test_questions_of_a_server_are_shown_without_control_characters_and_in_bounds() -> None:
    async def main() -> None:
        asker = Answers("x", "y")
        me = login(asker)
        assert me.begin_challenges()
        assert await me.answers("Welcome\x1b[2J\n", [("\x1b]0;t\x07Name" + "e" * 5_000, True), ("Code: ", False)]) == [
            "x",
            "y",
        ]
        first, second = asker.texts
        assert first.startswith("(me@server01) Welcome\nNameee")
        assert len(first) < 2_100
        assert second == "(me@server01) Code: "

    asyncio.run(main())


def test_servers_cannot_ask_without_end() -> None:
    async def main() -> None:
        me = login(Answers(*["x"] * 100))
        assert me.begin_challenges()
        assert await me.answers("", [("q", True)] * 11) is None
        me = login(Answers(*["x"] * 100))
        assert me.begin_challenges()
        rounds = 0
        while await me.answers("", [("q", True)]) is not None:
            rounds += 1
        assert rounds == 20
        me = login(Answers(*["x"] * 100))
        attempts = 0
        while me.begin_challenges() and await me.answers("", [("Password: ", False)]) is not None:
            attempts += 1
        assert attempts == 3

    asyncio.run(main())


def test_method_without_questions_is_not_tried_again() -> None:
    me = Login("me@server01", asker=NobodyToAsk(), deadline=None)  # type: ignore[arg-type]
    assert me.begin_challenges()
    assert not me.begin_challenges()


def test_nobody_answers_the_questions_of_a_server() -> None:
    async def main() -> None:
        me = login(NobodyToAsk())
        assert me.begin_challenges()
        assert await me.answers("", [("Code: ", False), ("Name: ", True)]) is None
        assert me.unanswered is not None

    asyncio.run(main())


def test_empty_round_of_questions_is_answered_by_nothing() -> None:
    async def main() -> None:
        me = login(NobodyToAsk())
        assert me.begin_challenges()
        assert await me.answers("Just a message.", []) == []

    asyncio.run(main())


def test_missing_answer_is_the_error() -> None:
    async def main() -> None:
        me = login(NobodyToAsk())
        assert await me.password() is None
        assert not me.begin_challenges()
        error = me.refused("server01", "me")
        assert isinstance(error, PromptUnavailable)
        assert str(error) == (
            "me@server01's password is needed, and this run cannot ask for it. Name a credential with the option "
            "credential=keyring:NAME, env:NAME or file:PATH, or use a key that needs no passphrase."
        )
        me.note("key id_ed25519")
        assert str(me.refused("server01", "me")).endswith("The server has refused: key id_ed25519.")

    asyncio.run(main())


def test_refusal_names_what_was_tried() -> None:
    async def main() -> None:
        me = login(Answers("secret-word"))
        me.note("key id_ed25519")
        await me.password()
        error = me.refused("server01", "me", accepts="publickey, password", detail=" The server said: no.")
        assert isinstance(error, AuthenticationFailed)
        assert str(error) == (
            "The server server01 refused the login of user me. Tried: key id_ed25519, password. The server accepts: "
            "publickey, password. The server said: no. Check the user name, the password, and that the public key is "
            "in me's authorized_keys on the server."
        )
        assert "There was no key and no password to try." in str(login(NobodyToAsk()).refused("server01", "me"))

    asyncio.run(main())


def test_passphrase_is_first_the_stored_secret() -> None:
    async def main() -> None:
        asker, secret = Answers("typed"), Stored("stored")
        me = login(asker, secret)
        assert await me.passphrase("/k", again=False) == "stored"
        assert await me.passphrase("/k", again=True) == "typed"
        # Nothing was sent: it may still be the password.
        assert await me.password() == "stored"
        assert asker.texts == ["Passphrase of the key /k (for me@server01): "]

    asyncio.run(main())


class Slow:
    """A user who takes his time."""

    async def ask(self, question: Question) -> str:
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.3)
        return "x"


def test_deadline_stands_still_while_the_user_thinks() -> None:
    async def main() -> None:
        deadline = Deadline(0.2)
        me = Login("me@server01", asker=Slow(), deadline=deadline)
        async with deadline:
            assert await me.ask("?") == "x"
        with pytest.raises(TimeoutError):
            async with Deadline(0.05) as short:
                with short.held():
                    pass
                await asyncio.get_running_loop().create_future()

    asyncio.run(main())


def test_deadline_stands_still_for_two_questions_at_once() -> None:
    async def main() -> None:
        deadline = Deadline(0.2)
        async with deadline:
            with deadline.held():
                with deadline.held():
                    pass
                await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.3)

    asyncio.run(main())


def test_question_that_outlives_the_login_does_no_harm() -> None:
    async def main() -> None:
        deadline = Deadline(10)
        me = Login("me@server01", asker=Slow(), deadline=deadline)
        async with deadline:
            asking = asyncio.create_task(me.ask("?"))
            await asyncio.sleep(0)
        assert await asking == "x"

    asyncio.run(main())


def test_sentences() -> None:
    unreached = Unreached("server01", 22)
    assert str(unreached.no_route()) == (
        "There is no route to server01. Check this machine's network, its VPN, and the address."
    )
    assert str(unreached.no_answer(30)) == (
        "server01 did not answer on port 22 within 30 seconds. It may be down, or a firewall may drop the packets. The "
        "option connect_timeout=SECONDS waits longer."
    )
