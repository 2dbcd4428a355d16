"""The page a browser without a token gets: one field, no script, nothing loaded from anywhere else."""

from __future__ import annotations

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Vedette: token needed</title>
<link rel="stylesheet" href="/assets/login.css">
</head>
<body>
<form method="post" action="/login">
  <h1>Vedette</h1>
  <p>Open the address that was printed when the server started, or paste its token here.</p>
  {wrong}
  <label for="token">Token</label>
  <input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
  <button type="submit">Open the console</button>
</form>
</body>
</html>
"""


def login_page(*, wrong: bool) -> str:
    """HTML of the form; `wrong` adds that the last token was not known."""
    return PAGE.format(wrong='<p class="wrong" role="alert">This token is not known.</p>' if wrong else "")
