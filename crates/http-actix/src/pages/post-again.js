// The browser sends our cookies with a form of our own page.
document.forms[0].submit();
