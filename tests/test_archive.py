"""What one does with stored threads: search, branch, rename, export, pin, delete; each only with one's own."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from tests.support.results import data_of, error_of, text_of
from tests.support.server import ServerFolder
from tests.upstream import Behaviour, Upstream

from zen_mcp.archive import Archive
from zen_mcp.config.load import load_config
from zen_mcp.conversations import Answer, Conversations, Question
from zen_mcp.errors import UnknownThread
from zen_mcp.storage.base import Database
from zen_mcp.storage.spending import Spending

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="Heard: {echo}"), {"input_cost_per_token": 0.001, "output_cost_per_token": 0.001}),
    "other": (Behaviour(text="Other: {echo}"), {}),
    "plain": (Behaviour(text="ok"), {}),
}
SETTINGS = {"default_model": "fine", "provider": "direct"}
DAY = 86_400


async def say(client: Client, prompt: str, thread: str | None = None, **more: Any) -> str:
    """One chat; the thread's id."""
    arguments = {"prompt": prompt, **({"continuation_id": thread} if thread else {}), **more}
    return data_of(await client.call_tool("chat", arguments))["continuation_id"]


async def threads(client: Client, **arguments: Any) -> dict[str, Any]:
    """What the tool says, as data."""
    return data_of(await client.call_tool("threads", arguments))


@pytest.mark.parametrize(
    "mangled",
    [
        "  {}\n",
        "'{}'",
        '"{}"',
        "`{}`",
        "“{}”",
        "<{}>",
        "{}.",
        "zen://threads/{}",
        "{upper}",
        "{short}…",
        "continuation_id",
    ],
)
async def test_an_id_is_found_as_models_hand_it_back(client: Client, mangled: str) -> None:
    thread = await say(client, "remember me")
    given = mangled.format(thread, upper=thread.upper(), short=thread[:12])
    result = await client.call_tool("chat", {"prompt": "still here?", "continuation_id": given})
    if mangled == "continuation_id":
        assert error_of(result)["kind"] == "UnknownThread", "what is no id finds nothing"
    else:
        assert data_of(result)["continuation_id"] == thread


async def test_words_are_found_in_any_case_with_what_stands_around_them(client: Client) -> None:
    first = await say(client, "Why does the Flux Capacitor need 1.21 gigawatts? " + "padding " * 60)
    second = await say(client, "Прочитай про Ёжика в тумане")
    third = await say(client, "100%_sure about the ÄPFEL!")
    found = (await threads(client, action="search", text="flux CAPACITOR gigawatts"))["threads"]
    assert [entry["continuation_id"] for entry in found] == [first]
    assert [hit["turn"] for hit in found[0]["hits"]] == [1, 2]
    assert found[0]["hits"][1]["text"].startswith("Heard: Why does the Flux Capacitor need 1.21 gigawatts?")
    assert found[0]["hits"][1]["text"].endswith("…")
    for text, thread in [("ёжика", second), ("ЁЖИКА", second), ("äpfel", third), ("100%_SURE", third)]:
        found = (await threads(client, text=text))["threads"]
        assert [entry["continuation_id"] for entry in found] == [thread], text
    nothing = await client.call_tool("threads", {"text": "flux nowhere-to-be-found"})
    assert text_of(nothing) == "Nothing is said of 'flux nowhere-to-be-found' in any thread."


async def test_signs_that_mean_something_to_the_database_mean_themselves(client: Client) -> None:
    thread = await say(client, "only percent % and under_score and bang!")
    for text in ("%", "under_score", "bang!"):
        assert thread in str(await threads(client, action="search", text=text))
    assert thread not in str(await threads(client, action="search", text="underXscore"))
    assert thread not in str(await threads(client, action="search", text="only%percent"))
    error = error_of(await client.call_tool("threads", {"action": "search"}))
    assert error["problem"] == "There is nothing to search for."
    error = error_of(await client.call_tool("threads", {"action": "search", "text": "a b c d e f g h i"}))
    assert "has 9 words" in error["problem"]


async def test_a_branch_sends_what_the_original_sent_and_leaves_it_alone(
    client: Client, upstream: Upstream, work: Path
) -> None:
    (work / "kept.py").write_text("x = 1\n" * 50, encoding="utf-8")
    thread = await say(client, "turn 1", model="plain", files=[str(work / "kept.py")])
    for number in (2, 3):
        await say(client, f"turn {number}", thread, model="plain")
    before = await threads(client, continuation_id=thread)
    branch = await threads(client, action="branch", continuation_id=thread, turn=3, text="another way")
    assert branch["continuation_id"] != thread
    assert branch["branched_from"] == thread
    assert branch["turn"] == 4, "the round of a turn is kept whole"
    await say(client, "turn 3", branch["continuation_id"], model="plain")
    sent = [json.dumps(request.messages) for request in upstream.asked("plain")]
    assert sent[-1] == sent[-2], "byte for byte what was sent in the original"
    assert "x = 1" in sent[-1]
    await say(client, "elsewhere", branch["continuation_id"], model="plain")
    assert await threads(client, continuation_id=thread) == before
    listed = (await threads(client))["threads"]
    assert (listed[0]["title"], listed[0]["turns"], listed[0]["branched_from"]) == ("another way", 8, thread)
    error = error_of(await client.call_tool("threads", {"action": "branch", "continuation_id": thread, "turn": 99}))
    assert error["fix"] == "It has turns 1 to 6."


async def test_a_branch_of_a_panels_round_keeps_every_answer(client: Client, upstream: Upstream) -> None:
    panel = data_of(await client.call_tool("consensus", {"prompt": "Well?", "models": ["fine", "other"]}))
    branch = await threads(client, action="branch", continuation_id=panel["continuation_id"], turn=2)
    await say(client, "Sum up.", branch["continuation_id"], model="plain")
    assert upstream.asked("plain")[-1].messages[2]["content"] == "[fine]\nHeard: Well?\n\n[other]\nOther: Well?"


async def test_a_thread_gets_another_title(client: Client) -> None:
    thread = await say(client, "a title of chance")
    renamed = await client.call_tool(
        "threads", {"action": "rename", "continuation_id": thread, "text": "  On purpose\n "}
    )
    assert text_of(renamed) == f"{thread} is now called 'On purpose'."
    assert (await threads(client))["threads"][0]["title"] == "On purpose"
    error = error_of(await client.call_tool("threads", {"action": "rename", "continuation_id": thread}))
    assert error["problem"] == "The new title is empty."


async def test_a_thread_is_exported_to_markdown_and_json(client: Client, work: Path) -> None:
    (work / "a.py").write_text("a = 1\n", encoding="utf-8")
    thread = await say(client, "export me", files=[str(work / "a.py")])
    answer = (await threads(client, continuation_id=thread, turn=2))["text"]
    await say(client, "and this", thread, model="other")
    text = (await threads(client, action="export", continuation_id=thread))["text"]
    assert text.startswith(f"# export me\n\n{thread} · ")
    assert f"## 1 · chat\n\nFiles: `{work / 'a.py'}`\n\nexport me\n\n## 2 · fine (custom) · " in text
    assert "## 4 · other (custom)" in text
    whole = json.loads((await threads(client, action="export", continuation_id=thread, format="json"))["text"])
    assert whole["continuation_id"] == thread
    assert [turn["text"] for turn in whole["turns"]] == ["export me", answer, "and this", "Other: and this"]
    assert whole["turns"][0]["files"][0]["text"] == "a = 1\n"
    assert whole["turns"][1]["model"] == "fine"
    assert whole["turns"][1]["input_tokens"] > 0


async def test_a_deleted_thread_is_gone(client: Client) -> None:
    thread, kept = await say(client, "delete me"), await say(client, "keep me")
    assert (await threads(client, action="delete", continuation_id=f"'{thread}'"))["deleted"] == thread
    for arguments in ({"continuation_id": thread}, {"action": "delete", "continuation_id": thread}):
        assert error_of(await client.call_tool("threads", arguments))["kind"] == "UnknownThread"
    assert kept in str(await threads(client))
    error = error_of(await client.call_tool("threads", {"action": "delete"}))
    assert error["problem"] == "threads: 'delete' needs 'continuation_id'."


async def test_a_list_as_long_as_the_client_shows_says_how_many_more_there_are(client: Client) -> None:
    for number in range(60):
        await say(client, f"{number} " + "a title as long as titles get, which is eighty characters and no more")
    result = await client.call_tool("threads", {"limit": 60})
    data = data_of(result)
    assert len(text_of(result)) <= 7_600
    assert len(data["threads"]) + data["more"] == 60
    assert f"[{data['more']} more: search with text, or a smaller limit]" in text_of(result)


@pytest.fixture
def conversations(database: Database) -> tuple[Conversations, list[float]]:
    """Threads in a real database of either kind, and the clock's hands."""
    now = [1_000_000_000.0]
    return Conversations(database, retention_days=30, clock=lambda: now[0]), now


async def ask(conversations: Conversations, user: str, text: str) -> str:
    """A round of a user's new thread; its id."""
    thread = await conversations.open(None, user_id=user)
    answer = Answer(text=f"answer to {text}", model="m", vendor="v", cost_dollars=0.5)
    await conversations.append(thread, Question(text=text, tool="chat"), [answer])
    return thread.id


async def test_nobody_sees_or_touches_anothers_threads(conversations: tuple[Conversations, list[float]]) -> None:
    kept, _ = conversations
    secret = await ask(kept, "ann", "the password is swordfish")
    own = await ask(kept, "ben", "hello")
    ben = Archive(kept, user_id="ben")
    assert [thread.id for thread in await ben.list()] == [own]
    assert await ben.search("swordfish") == ()
    attempts: list[Callable[[], Awaitable[object]]] = [
        lambda: kept.open(secret, user_id="ben"),
        lambda: kept.open(secret[:12], user_id="ben"),
        lambda: kept.open("%", user_id="ben"),
        lambda: kept.open("t-________", user_id="ben"),
        lambda: ben.branch(secret),
        lambda: ben.rename(secret, "mine"),
        lambda: ben.pin(secret),
        lambda: ben.delete(secret),
    ]
    for attempt in attempts:
        with pytest.raises(UnknownThread):
            await attempt()
    ann = Archive(kept, user_id="ann")
    assert [(thread.id, thread.title) for thread in await ann.list()] == [(secret, "the password is swordfish")]
    assert [found.id for found in await ann.search("SWORDFISH")] == [secret]


async def test_a_pinned_thread_outlives_the_others(conversations: tuple[Conversations, list[float]]) -> None:
    kept, now = conversations
    pinned, other = await ask(kept, "ann", "pinned"), await ask(kept, "ann", "other")
    ann = Archive(kept, user_id="ann")
    await ann.pin(pinned)
    now[0] += 31 * DAY
    assert [thread.id for thread in await ann.list()] == [pinned], "what has expired is not shown any more"
    assert await ann.search("other") == ()
    with pytest.raises(UnknownThread, match="unused for 30 days"):
        await kept.open(other, user_id="ann")
    assert await kept.expire() == 1
    assert (await kept.open(pinned, user_id="ann")).id == pinned
    await ann.pin(pinned, pinned=False)
    assert await kept.expire() == 1


@pytest.mark.parametrize("days", [0, None])
async def test_threads_may_be_kept_for_ever(database: Database, days: float | None) -> None:
    now = [1_000_000_000.0]
    kept = Conversations(database, retention_days=days, clock=lambda: now[0])
    thread = await ask(kept, "ann", "old")
    now[0] += 10_000 * DAY
    assert await kept.expire() == 0
    assert (await kept.open(thread, user_id="ann")).id == thread
    with pytest.raises(UnknownThread, match=r"There is no thread 'x'\. Leave"):
        await kept.open("x", user_id="ann")


async def test_either_database_finds_the_same_words(conversations: tuple[Conversations, list[float]]) -> None:
    kept, now = conversations
    asked: dict[str, str] = {}
    for text in ("Flux CAPACITOR, 100%_sure!", "Прочитай про Ёжика в тумане", "Äpfel und Birnen"):
        now[0] += 1
        asked[text] = await ask(kept, "ann", text)
    flux, fog, fruit = asked.values()
    ann = Archive(kept, user_id="ann")
    for words, threads_found in [
        ("capacitor FLUX", [flux]),
        ("100%_SURE!", [flux]),
        ("100__sure", []),
        ("ЁЖИКА тумане", [fog]),
        ("äpfel", [fruit]),
        ("birnen", [fruit]),
        ("ANSWER", [fruit, fog, flux]),
        ("answer capacitor birnen", []),
    ]:
        assert [found.id for found in await ann.search(words)] == threads_found, words
    await ann.rename(flux, "Delorean")
    (found,) = await ann.search("delorean")
    assert (found.title, found.hits) == ("Delorean", ()), "found by its title alone"


async def test_a_branch_costs_nothing(conversations: tuple[Conversations, list[float]]) -> None:
    kept, _ = conversations
    thread = await ask(kept, "ann", "dear")
    made = await Archive(kept, user_id="ann").branch(thread)
    spent = await Spending(kept.database).by_thread(user_id="ann")
    assert spent[thread].cost_dollars == 0.5
    assert (spent[made.id].cost_dollars, spent[made.id].unpriced) == (0.0, 0)
    await Archive(kept, user_id="ann").delete(thread)
    assert [turn.text for turn in (await kept.open(made.id, user_id="ann")).turns] == ["dear", "answer to dear"]


@pytest.mark.parametrize("written", ["thread_retention_days: 0", "thread_retention_days: null"])
def test_the_setting_may_be_zero_or_null(tmp_path: Path, written: str) -> None:
    folder = ServerFolder(path=tmp_path)
    folder.write()
    (tmp_path / "config" / "server.yaml").write_text(f"version: '1.0'\n{written}\n", encoding="utf-8")
    settings = load_config(tmp_path / "config", environ=folder.environ(), working_directory=folder.work).server
    assert not settings.thread_retention_days


def test_the_command_line_does_the_same(folder: ServerFolder, work: Path) -> None:
    def zen(*arguments: str) -> str:
        done = folder.run("threads", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    asked = json.loads(folder.run("ask", "A shell question about pelicans", "--json").stdout)
    thread = asked["continuation_id"]
    assert "turn 1 · user: A shell question about pelicans" in zen("search", "PELICANS", "shell")
    assert json.loads(zen("search", "pelicans", "--json"))["threads"][0]["continuation_id"] == thread
    assert zen("rename", thread, "Birds", "of", "passage") == f"{thread} is now called 'Birds of passage'\n"
    made = json.loads(zen("branch", thread, "--turn", "1", "--title", "Elsewhere", "--json"))
    assert (made["branched_from"], made["last_turn"], made["title"]) == (thread, 2, "Elsewhere")
    assert "Birds of passage" in zen("list")
    assert zen("pin", thread) == f"{thread} is kept for good\n"
    assert "pinned  Birds of passage" in zen("list")
    assert zen("export", thread).startswith("# Birds of passage\n")
    assert json.loads(zen("export", thread, "--format", "json"))["title"] == "Birds of passage"
    assert json.loads(zen("export", thread, "--json"))["title"] == "Birds of passage"
    file = work / "thread.md"
    assert zen("export", thread.upper(), "-o", str(file)) == f"{thread} is written to {file}\n"
    assert file.read_text(encoding="utf-8").startswith("# Birds of passage\n")
    assert zen("delete", made["id"], "--json") == json.dumps({"deleted": made["id"]}, indent=2) + "\n"
    nowhere = folder.run("threads", "export", thread, "-o", str(work / "no" / "such" / "folder.md"))
    assert nowhere.returncode == 1
    assert "cannot be written" in nowhere.stderr
    assert folder.run("threads", "search").returncode == 1
    gone = folder.run("threads", "branch", "t-aaaaaaaaaaaaaaaa", "--json")
    assert json.loads(gone.stdout)["error"]["kind"] == "UnknownThread"
