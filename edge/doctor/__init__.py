"""`vedette-edge doctor`: what a technician would look at, one after the other, each with what to do about it.

    machine ─► settings and certificates ─► network ─► broker ─► source ─► agent and spool

A check looks at one thing and answers with a Verdict. It changes nothing, but for one empty message that it sends
to the broker under a number of its own, to see a receipt come back. Where a running agent holds the thing (the
broker's session, the serial line), its own words are taken instead.
"""
