// The map: no tiles, so no internet. Lines of latitude and longitude, roads, fences, units on one canvas, alarms.
"use strict";

const REFRESH_MS = 1000;
const COLOURS = {
  dark: { grid: "#1d2a36", label: "#6d8193", road: "#3b4c5c", fence: "#8aa4bb", view: "#7f8cff", fire: "#ff8b3d", unit: "#7fd1ff", rim: "#06121d", old: "#566878", line: "#4fb0ff" },
  light: { grid: "#dce4ea", label: "#5b6e7f", road: "#a9b7c3", fence: "#4d6478", view: "#4a57c9", fire: "#c4500a", unit: "#0a66b5", rim: "#ffffff", old: "#8fa1b0", line: "#0a66b5" },
};
const OLD_MS = 120e3;
const CLEAR = { paddingTopLeft: [24, 24], paddingBottomRight: [24, 64] }; // of the legend
const AROUND_M = 10e3; // as much as a camera's drawn view
const NAMED_UNITS = 40; // with more of them, names would cover the map: they are shown on hover

class VedetteMap {
  constructor(map, scene, live) {
    this.map = map;
    this.live = live;
    this.scene = scene;
    this.units = new Map();
    this.places = new Map();
    this.areas = new Map();
    this.layers = ["grid", "roads", "fences", "views", "areas", "track", "units", "places", "marks"].reduce(
      (all, name) => ({ ...all, [name]: L.layerGroup().addTo(map) }), {});
    map.on("moveend", () => this.drawGrid());
    L.control.scale({ imperial: false, position: "topright" }).addTo(map);
    this.addLegend();
    this.repaint();
    this.fit();
    for (const kind of ["pointerdown", "wheel", "keydown"]) map.getContainer().addEventListener(kind, () => (this.moved = true));
    new ResizeObserver(() => this.resized()).observe(map.getContainer());
  }

  resized() {
    this.map.invalidateSize({ animate: false });
    if (!this.moved && !this.chosen && !this.line) this.fit();
  }

  addLegend() {
    const legend = L.control({ position: "bottomright" });
    legend.onAdd = () => {
      const holder = node("div", "legend");
      const live = [["", "unit"], ["old", "no news for 2 min"], ["ring", "alarm"], ["area", "where a fire may be"]];
      const track = [["trail", "track"], ["halt", "stop"], ["quick", "speeding"]];
      const shown = this.live ? live : document.querySelector("#show-track") ? track : [];
      for (const [name, words] of [...shown, ["fence", "fence"], ["view", "camera's view"]])
        holder.append(node("span", "", node("i", name), words));
      return holder;
    };
    legend.addTo(this.map);
  }

  get colours() {
    return COLOURS[document.body.classList.contains("body--light") ? "light" : "dark"];
  }

  repaint() {
    this.drawGrid();
    this.drawScene();
    for (const { marker } of this.units.values()) marker.setStyle(this.unitStyle(marker.at));
    if (this.line) this.line.setStyle({ color: this.colours.line });
  }

  // A step that gives some six lines across, of 1, 2 or 5 in the last place.
  drawGrid() {
    const layer = this.layers.grid.clearLayers(), bounds = this.map.getBounds();
    const width = bounds.getEast() - bounds.getWest();
    if (!(width > 0)) return;
    const power = 10 ** Math.floor(Math.log10(width / 6));
    const step = power * [1, 2, 5, 10].find((n) => n * power >= width / 6);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const style = { color: this.colours.grid, weight: 1, interactive: false };
    const label = (at, text, name) =>
      L.marker(at, { interactive: false, keyboard: false, icon: L.divIcon({ className: `graticule ${name}`, html: text, iconSize: null }) }).addTo(layer);
    for (let lon = Math.ceil(bounds.getWest() / step) * step; lon < bounds.getEast(); lon += step) {
      L.polyline([[bounds.getSouth(), lon], [bounds.getNorth(), lon]], style).addTo(layer);
      label([bounds.getSouth(), lon], `${Math.abs(lon).toFixed(digits)}° ${lon < 0 ? "W" : "E"}`, "lon");
    }
    for (let lat = Math.ceil(bounds.getSouth() / step) * step; lat < bounds.getNorth(); lat += step) {
      L.polyline([[lat, bounds.getWest()], [lat, bounds.getEast()]], style).addTo(layer);
      label([lat, bounds.getEast()], `${Math.abs(lat).toFixed(digits)}° ${lat < 0 ? "S" : "N"}`, "lat");
    }
  }

  drawScene() {
    const { road, fence } = this.colours;
    const name = (feature, layer) =>
      layer.bindTooltip(text(feature.properties?.name ?? feature.id), { permanent: true, direction: "top", className: "name fence-name" });
    this.layers.roads.clearLayers();
    this.layers.fences.clearLayers();
    L.geoJSON(this.scene.roads, { style: { color: road, weight: 2.5 }, interactive: false }).addTo(this.layers.roads);
    L.geoJSON(this.scene.fences, {
      style: { color: fence, weight: 1.5, dashArray: "6 4", fillOpacity: 0.06 },
      pointToLayer: (feature, at) =>
        L.circle(at, { radius: feature.properties.radius, color: fence, weight: 1.5, dashArray: "6 4", fillOpacity: 0.06 }),
      onEachFeature: name,
    }).addTo(this.layers.fences);
    this.drawCameras();
  }

  // Each camera with a pose: where it stands, and its field of view as far as it is drawn.
  drawCameras() {
    const { view } = this.colours;
    this.layers.views.clearLayers();
    L.geoJSON(this.scene.cameras, { style: { color: view, weight: 1, opacity: 0.7, fillOpacity: 0.07 }, interactive: false })
      .addTo(this.layers.views);
    for (const { properties } of this.scene.cameras.features)
      L.circleMarker([properties.lat, properties.lon], { radius: 4, weight: 2, color: view, fillOpacity: 0.4 })
        .bindTooltip(text(properties.name), { permanent: true, direction: "bottom", className: "name" }).addTo(this.layers.views);
    for (const area of this.areas.values()) area.setStyle(this.areaStyle());
  }

  areaStyle() {
    return { color: this.colours.fire, weight: 2, fillOpacity: 0.18 };
  }

  fit(bounds) {
    const all = L.featureGroup([...this.layers.roads.getLayers(), ...this.layers.fences.getLayers()]).getBounds();
    for (const { properties } of this.scene.cameras.features) all.extend([properties.lat, properties.lon]);
    for (const { marker } of this.units.values()) all.extend(marker.getLatLng());
    for (const marker of this.places.values()) all.extend(marker.getLatLng());
    const target = bounds ?? all;
    if (target.isValid()) this.map.fitBounds(target, { ...CLEAR, maxZoom: 16, animate: false });
    this.fitted = target.isValid();
  }

  // ------------------------------------------------------------ units

  unitStyle(at) {
    const old = Date.now() - at > OLD_MS;
    return { radius: 5, weight: 1.5, color: this.colours.rim, fillColor: old ? this.colours.old : this.colours.unit, fillOpacity: 1 };
  }

  showUnits(units) {
    for (const unit of units) {
      const at = Date.parse(unit.at), place = [unit.lat, unit.lon];
      let known = this.units.get(unit.unit);
      if (!known) {
        const marker = L.circleMarker(place, {});
        if (units.length > NAMED_UNITS) marker.bindTooltip(() => unitText(this.units.get(unit.unit).unit));
        else marker.bindTooltip(text(unit.unit), { permanent: true, direction: "right", offset: [6, 0], className: "name" });
        this.units.set(unit.unit, (known = { marker: marker.addTo(this.layers.units) }));
      }
      known.unit = unit;
      known.marker.at = at;
      known.marker.setLatLng(place).setStyle(this.unitStyle(at));
    }
    if (!this.fitted) this.fit();
    this.map.getContainer().dataset.units = this.units.size;
  }

  async follow() {
    if (!this.map.getContainer().isConnected) return;
    if (!document.hidden) {
      try {
        const answer = await fetch("/api/v1/units");
        if (answer.ok) this.showUnits((await answer.json()).units);
      } catch {
        /* the banner tells that the server is gone */
      }
    }
    setTimeout(() => this.follow(), REFRESH_MS);
  }

  // ------------------------------------------------------------ alarms and tracks

  showPlaces(places) {
    for (const place of places) {
      this.places.get(place.id)?.remove();
      this.places.delete(place.id);
      this.areas.get(place.id)?.remove();
      this.areas.delete(place.id);
      if (!place.shown) continue;
      if (place.area) this.showArea(place);
      if (place.lat === null) continue;
      const icon = L.divIcon({ className: `place sev-${place.severity} state-${place.state}`, iconSize: [22, 22] });
      const marker = L.marker([place.lat, place.lon], { icon, title: place.reason, alt: place.reason });
      marker.on("click keypress", () => emitEvent("place", place.id));
      this.places.set(place.id, marker.addTo(this.layers.places));
    }
    this.highlight(this.chosen);
    if (!this.moved && !this.chosen) this.fit();
  }

  showArea(place) {
    const area = L.geoJSON(place.area.geometry, { style: this.areaStyle(), smoothFactor: 0.2 }).bindTooltip(text(place.reason), { sticky: true });
    area.on("click", () => emitEvent("place", place.id));
    this.areas.set(place.id, area.addTo(this.layers.areas));
    this.map.getContainer().dataset.areas = [...this.areas.keys()].join(" ");
  }

  highlight(id) {
    this.places.get(this.chosen)?.getElement()?.classList.remove("chosen");
    this.chosen = id;
    this.places.get(id)?.getElement()?.classList.add("chosen");
  }

  choose(place) {
    this.highlight(place?.id);
    const area = this.areas.get(place?.id);
    if (area) return this.map.fitBounds(area.getBounds(), { ...CLEAR, maxZoom: 14, animate: false });
    if (!place || place.lat === null) return this.moved || this.fit();
    this.map.setView([place.lat, place.lon], Math.max(this.map.getZoom(), 13), { animate: false });
  }

  // Landmarks of a calibration, by their names, and the view of the camera they give.
  showMarks({ spots, view }) {
    const layer = this.layers.marks.clearLayers();
    if (view) L.geoJSON(view, { style: { ...this.areaStyle(), fillOpacity: 0.08 }, interactive: false }).addTo(layer);
    if (!spots.every(([lat, lon]) => this.map.getBounds().contains([lat, lon]))) {
      const all = L.latLngBounds(spots.map(([lat, lon]) => [lat, lon]));
      this.map.fitBounds(view ? all.extend(L.geoJSON(view).getBounds()) : all, { padding: [24, 24], maxZoom: 14, animate: false });
    }
    for (const [lat, lon, name] of spots)
      L.marker([lat, lon], { interactive: false, keyboard: false, icon: L.divIcon({ className: "landmark-spot", html: text(name), iconSize: [24, 24] }) }).addTo(layer);
  }

  go(place) {
    this.moved = true;
    this.map.fitBounds(L.latLng(place).toBounds(AROUND_M), { animate: false });
  }

  showTrack(feature) {
    this.layers.track.clearLayers();
    this.line = null;
    const points = trackPoints(feature);
    if (!points.length) return;
    this.line = L.polyline(points, { color: this.colours.line, weight: 3, interactive: false, smoothFactor: 2 }).addTo(this.layers.track);
    const end = (at, name, words) =>
      L.marker(at, { icon: L.divIcon({ className: `end ${name}`, iconSize: [16, 16] }), keyboard: false })
        .bindTooltip(text(words), { permanent: false }).addTo(this.layers.track);
    const { times } = feature.properties;
    end(points[0], "first", times[0]);
    end(points.at(-1), "last", times.at(-1));
    this.fit(this.line.getBounds().pad(0.05));
  }
}

function text(words) {
  const span = document.createElement("span");
  span.textContent = words ?? "";
  return span;
}

function unitText(unit) {
  const speed = unit.speed === null ? "" : ` · ${(unit.speed * 3.6).toFixed(0)} km/h`;
  return text(`${unit.unit}${speed} · ${vedette.age(Date.parse(unit.at))} ago`);
}

vedette.startMap = async (element, follow) => {
  const scene = await (await fetch("/console/scene.json")).json();
  vedette.map = new VedetteMap(element.map, scene, follow);
  if (follow) vedette.map.follow();
};

// Width and height of a picture in its own pixels, once it is there; zeros if it cannot be shown.
vedette.sizeOf = async (image) => {
  for (let turn = 0; turn < 100; turn++) {
    if (image.src.startsWith("data:") && image.complete) break;
    await new Promise((done) => setTimeout(done, 50));
  }
  return [image.naturalWidth, image.naturalHeight];
};
