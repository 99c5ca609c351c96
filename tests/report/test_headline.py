import pytest

from tfopt.report.headline import headline


def said(outcome, network=2.0, baseline=0.1):
    rows = [{"model": "network", "fit_seconds": network}, {"model": "svm", "fit_seconds": baseline}]
    names = {"network": "network", "best_baseline": "svm"}
    return headline({"outcome": outcome, "leaderboard": rows, **names})


@pytest.mark.parametrize(
    ("outcome", "seconds", "sentence"),
    [
        ("equivalent", (2.0, 0.1), "Keep the support vector machine: the network is not better, and costs 20 times"),
        ("equivalent", (1.0, 1.2), "Keep the support vector machine: the network is not better."),
        ("equivalent", (1.0, 4.1), "Either will do: the support vector machine is simpler, the network is as good and"),
        ("better", (1.0, 0.4), "it is better than the support vector machine, but costs 2.5 times as much to fit."),
        ("better", (0.1, 23.4), "it is better than the support vector machine, and it fits 230 times as fast."),
        ("worse", (0.1, 1.0), "the network is worse, though it fits 10 times as fast."),
        ("undecided", (9.6, 1.0), "cannot be told from these data, and it costs 9.5 times as much to fit."),
        ("undecided", (0.0, 1.0), "cannot be told from these data."),
        ("guessing", (1.0, 1.0), "Use none of these models"),
        (None, (1.0, 1.0), "has not ended"),
    ],
)
def test_sentence_says_what_to_keep_and_what_the_network_costs(outcome, seconds, sentence):
    assert sentence in said(outcome, *seconds)


def test_what_there_is_nothing_to_compare_with():
    rows = [{"model": "ridge", "fit_seconds": 0.1}]
    only = {"leaderboard": rows, "network": None, "best_baseline": "ridge"}
    assert headline({**only, "outcome": "only baselines"}).startswith("Use ridge regression: ")
    alone = {"leaderboard": [{"model": "network"}], "network": "network", "best_baseline": None}
    assert "no simpler model" in headline({**alone, "outcome": "only networks"})
    assert "none has a score" in headline({"leaderboard": [], "outcome": "nothing"})
