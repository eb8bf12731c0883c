"""How far lbtop's judgements can be trusted on traffic that nothing was fitted on: ``make scoreboard``, docs/scoreboard.md.

``tests/test_scoreboard.py`` is the fast gate over the committed captures. This is the measure: every capture is judged with
weights fitted without its balancer, the unseen set of scenarios (captures/unseen) was not looked at while rules were written,
intervals are held against thousands of made-up services, and predictions against what real balancers then did.
"""
