// Keys go to the terminal as soon as it has drawn something: nobody should have to click first.
new MutationObserver((changes, observer) => {
  const keys = document.querySelector(".xterm-helper-textarea");
  if (keys && document.body.classList.contains("-first-byte")) {
    observer.disconnect();
    keys.focus();
  }
}).observe(document.documentElement, {subtree: true, attributes: true, attributeFilter: ["class"]});
