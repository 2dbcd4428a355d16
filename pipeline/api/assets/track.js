// Reading a track: the api writes the audit log first, then the browser draws it and can save it as a file.
"use strict";

async function asked(address, query) {
  const answer = await fetch(`${address}?${new URLSearchParams(query)}`);
  const body = await answer.json();
  return answer.ok ? body : Promise.reject(body.detail);
}

// What was found goes back to the page; a refusal in its own words.
async function told(work) {
  try {
    return await work();
  } catch (problem) {
    return { problem: typeof problem === "string" ? problem : "The server did not answer. Try again." };
  }
}

const unitAddress = (unit) => `/api/v1/units/${encodeURIComponent(unit)}`;

vedette.readTrack = (unit, query) => told(async () => {
  vedette.track = null;
  vedette.map.showTrack({});
  vedette.track = await asked(`${unitAddress(unit)}/track`, query);
  vedette.map.showTrack(vedette.track);
  const { fixes, times, more, speeds } = vedette.track.properties;
  const points = trackPoints(vedette.track);
  const metres = points.slice(1).reduce((sum, at, i) => sum + L.latLng(points[i]).distanceTo(at), 0);
  const fastest = speeds.reduce((top, speed) => (speed === null ? top : Math.max(top, speed)), -1);
  return { fixes, more, metres, first: times[0] ?? null, last: times.at(-1) ?? null, fastest: fastest < 0 ? null : fastest };
});

// Trips take the server longer than the track: they come after it.
vedette.readTrips = (unit, query) => told(async () => {
  const track = vedette.track, trips = await asked(`${unitAddress(unit)}/trips`, query);
  if (track && track === vedette.track) vedette.map.showTrips(trips, track);
  return trips;
});

function trackPoints({ geometry }) {
  const places = !geometry ? [] : geometry.type === "Point" ? [geometry.coordinates] : geometry.coordinates;
  return places.map(([lon, lat]) => [lat, lon]);
}

// Index of the first fix at or after a time; fixes are in order.
function fixAt(times, moment) {
  const wanted = Date.parse(moment);
  let low = 0, high = times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (Date.parse(times[middle]) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

const clockOf = (moment) => `${moment.slice(11, 19)} UTC`;

VedetteMap.prototype.showTrips = function ({ segments, speeding }, track) {
  const points = trackPoints(track), { times } = track.properties;
  const spot = (at, name, words) =>
    L.marker(at, { icon: L.divIcon({ className: `spot ${name}`, iconSize: [14, 14] }), keyboard: false, title: words })
      .bindTooltip(text(words)).addTo(this.layers.track);
  for (const { kind, start, end, first } of segments)
    if (kind === "stop") spot([first.lat, first.lon], "stop", `Stop ${clockOf(start)} to ${clockOf(end)}`);
  for (const { at, speed } of speeding)
    spot(points[fixAt(times, at)], "fast", `${(speed * 3.6).toFixed(0)} km/h at ${clockOf(at)}`);
};

// The part of the track between two times, made to stand out.
vedette.goTrip = (start, end) => {
  const { map } = vedette, { times } = vedette.track.properties;
  const part = trackPoints(vedette.track).slice(fixAt(times, start), fixAt(times, end) + 1);
  map.part?.remove();
  map.part = L.polyline(part, { className: "part-line", color: map.colours.fire, weight: 5, interactive: false }).addTo(map.layers.track);
  map.map.fitBounds(L.latLngBounds(part).pad(0.1), { maxZoom: 16, animate: false });
};

// ---------------------------------------------------------------- files: what was read (and audited) once is not read again

const FORMS = {
  geojson: ["application/geo+json", () => JSON.stringify(vedette.track)],
  csv: ["text/csv", () => csvOf(vedette.track)],
  gpx: ["application/gpx+xml", () => gpxOf(vedette.track)],
};

vedette.saveTrack = (form) => {
  const [type, made] = FORMS[form], { unit, from } = vedette.track.properties;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([made()], { type }));
  link.download = `${unit}-${from.slice(0, 10)}.${form}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};

// A track file as `vedette replay` and `vedette trips` read it: degrees, m/s, degrees true, metres.
function csvOf(track) {
  const { unit, times, speeds, courses, accuracies } = track.properties;
  const rows = trackPoints(track).map(([lat, lon], i) =>
    [unit, times[i], lat, lon, speeds[i] ?? "", courses[i] ?? "", accuracies[i] ?? ""].join(","));
  return ["unit,at,lat,lon,speed,course,accuracy", ...rows, ""].join("\n");
}

function gpxOf(track) {
  const { unit, times } = track.properties;
  const fixes = trackPoints(track).map(([lat, lon], i) => `<trkpt lat="${lat}" lon="${lon}"><time>${times[i]}</time></trkpt>`);
  const name = new XMLSerializer().serializeToString(document.createTextNode(unit));
  return `<?xml version="1.0" encoding="UTF-8"?>\n<gpx version="1.1" creator="Vedette" xmlns="http://www.topografix.com/GPX/1/1">\n` +
    `<trk><name>${name}</name><trkseg>\n${fixes.join("\n")}\n</trkseg></trk></gpx>\n`;
}
