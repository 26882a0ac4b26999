// The example browser: one example at a time, filtered by level and search. Without JavaScript all examples are simply there.
(function () {
  var articles = Array.prototype.slice.call(document.querySelectorAll("article.example"));
  var controls = document.getElementById("controls");
  if (articles.length && controls) {
    var choose = document.getElementById("choose"), level = document.getElementById("level"), search = document.getElementById("search");
    var count = document.getElementById("count"), shown = [], current = 0;

    var texts = articles.map(function (article) { return article.textContent.toLowerCase(); });

    function show(place) {
      current = Math.max(0, Math.min(place, shown.length - 1));
      articles.forEach(function (article) { article.hidden = article !== shown[current]; });
      count.textContent = shown.length ? (current + 1) + " of " + shown.length : "no example matches";
      choose.selectedIndex = current;
    }

    function filter() {
      var words = search.value.toLowerCase().trim();
      shown = articles.filter(function (article, place) {
        return (!level.value || article.dataset.level === level.value) && (!words || texts[place].indexOf(words) >= 0);
      });
      choose.textContent = "";
      shown.forEach(function (article) { choose.appendChild(new Option(article.querySelector("h3").textContent)); });
      show(0);
    }

    controls.hidden = false;
    search.addEventListener("input", filter);
    level.addEventListener("change", filter);
    choose.addEventListener("change", function () { show(choose.selectedIndex); });
    document.getElementById("previous").addEventListener("click", function () { show(current - 1); });
    document.getElementById("next").addEventListener("click", function () { show(current + 1); });
    filter();
    var linked = articles.indexOf(document.getElementById(location.hash.slice(1)));
    if (linked >= 0) { show(linked); }
  }

  var links = Array.prototype.slice.call(document.querySelectorAll("nav.bar a"));
  if ("IntersectionObserver" in window) {
    var observer = new IntersectionObserver(function (entries) {
      entries.forEach(function (entry) {
        if (entry.isIntersecting) {
          links.forEach(function (link) {
            if (link.hash === "#" + entry.target.id) { link.setAttribute("aria-current", "true"); } else { link.removeAttribute("aria-current"); }
          });
        }
      });
    }, { rootMargin: "-20% 0px -70% 0px" });
    document.querySelectorAll("main > section").forEach(function (section) { observer.observe(section); });
  }
})();
