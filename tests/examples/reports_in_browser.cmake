# Opens the reports that the programs' tests have written in headless Chromium, at the widths of a phone and a desktop,
# light and dark: all pictures and curves must be drawn, the page must fit, and nothing may be fetched.
# REPORTS: the files. FOLDER: to work in.
cmake_minimum_required(VERSION 3.22)
find_program(BROWSER NAMES chromium chromium-browser google-chrome)
find_program(GNUPLOT gnuplot)
if(NOT BROWSER OR NOT GNUPLOT)
  message(STATUS "Chromium or gnuplot is not installed: the reports' look is not tested")
  return()
endif()
file(REMOVE_RECURSE "${FOLDER}")
file(MAKE_DIRECTORY "${FOLDER}")

# The page judges itself, and tells the page around it.
set(script [=[<script>onload = () => {
  const canvas = document.createElement('canvas'), ink = canvas.getContext('2d', {willReadFrequently: true});
  const drawn = picture => {
    if (picture.naturalWidth == 0 || picture.getBoundingClientRect().width < 4) return false;
    canvas.width = picture.naturalWidth; canvas.height = picture.naturalHeight;
    ink.drawImage(picture, 0, 0);
    const pixels = new Uint32Array(ink.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    return pixels.some(p => p != pixels[0]);
  };
  const plotted = svg => [...svg.querySelectorAll('[id*="_plot_"] path')].some(p => p.getBoundingClientRect().width > 50)
    && [...svg.querySelectorAll('text')].filter(t => t.getBoundingClientRect().width > 3).length > 8;
  const legend = svg => {  // no label lies on another
    const boxes = [...svg.querySelectorAll('text')].map(t => t.getBoundingClientRect());
    return boxes.every((a, i) => boxes.every((b, k) => k <= i || a.width * b.width == 0 ||
      Math.min(a.right, b.right) - Math.max(a.left, b.left) < 2 || Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) < 0.15 * a.height));
  };
  const all = (list, good) => list.filter(good).length + '/' + list.length;
  const fetched = performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length;
  parent.postMessage(['width', innerWidth, 'pictures', all([...document.images], drawn),
    'plots', all([...document.querySelectorAll('svg')], plotted), 'readable', all([...document.querySelectorAll('svg')], legend),
    'fits', document.documentElement.scrollWidth <= innerWidth, 'fetched', fetched,
    'on', getComputedStyle(document.body).backgroundColor.replaceAll(' ', '')].join(' '), '*');
}</script></body>]=])
set(frame [=[<!DOCTYPE html><html><head><meta name="color-scheme" content="light dark"></head><body><script>
  const seen = [];
  onmessage = e => { seen.push(e.data); document.body.dataset.seen = seen.sort().join('; '); };
</script><iframe src="page.html" width="390" height="900" frameborder="0"></iframe>
<iframe src="page.html" width="1400" height="900" frameborder="0"></iframe></body></html>]=])

foreach(report IN LISTS REPORTS)
  if(NOT EXISTS "${report}")
    message(FATAL_ERROR "${report} is not there: run the program's test first")
  endif()
  file(READ "${report}" page)
  string(REPLACE "</body>" "${script}" page "${page}")
  file(WRITE "${FOLDER}/page.html" "${page}")
  file(WRITE "${FOLDER}/frame.html" "${frame}")
  foreach(scheme light dark)
    if(scheme STREQUAL "dark")
      set(options "--blink-settings=preferredColorScheme=0")
      set(ground "rgb\\(20,23,27\\)")
    else()
      set(options "")
      set(ground "rgb\\(255,255,255\\)")
    endif()
    execute_process(COMMAND "${BROWSER}" --headless --no-sandbox --disable-gpu ${options} --window-size=1500,1000
                            --virtual-time-budget=20000 "--user-data-dir=${FOLDER}/profile" --dump-dom
                            "file://${FOLDER}/frame.html" OUTPUT_VARIABLE dom ERROR_QUIET RESULT_VARIABLE status)
    string(REGEX MATCH "data-seen=\"([^\"]*)\"" found "${dom}")
    set(seen "${CMAKE_MATCH_1}")
    message(STATUS "${report}, ${scheme}: ${seen}")
    set(good "pictures [0-9/]+ plots [0-9/]+ readable [0-9/]+ fits true fetched 0 on ${ground}")
    if(NOT seen MATCHES "^width 1400 ${good}; width 390 ${good}$")
      message(FATAL_ERROR "${report}, ${scheme}: ${seen}")
    endif()
    string(REGEX MATCHALL "[0-9]+/[0-9]+" shares "${seen}")
    foreach(share IN LISTS shares)
      string(REPLACE "/" ";" parts "${share}")
      list(GET parts 0 drawn)
      list(GET parts 1 all)
      if(NOT drawn EQUAL all)
        message(FATAL_ERROR "${report}, ${scheme}: ${seen}")
      endif()
    endforeach()
    if(seen MATCHES "pictures 0/0 plots 0/0")
      message(FATAL_ERROR "${report}: nothing to look at")
    endif()
  endforeach()
endforeach()
