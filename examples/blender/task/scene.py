"""A day on the coast: a row of statues, and the sun once around them.

Run by Blender, with nobody watching. FRAMES is how many frames the day has,
MOYAI_INDEX and PER_TASK say which of them are this task's. They are written to
/out as frame-0001.png and so on, whoever renders them.
"""

import math
import os
import random

import bpy
from mathutils import Vector

FRAMES = int(os.environ.get("FRAMES", "48"))
PER_TASK = int(os.environ.get("PER_TASK", "3"))
WIDTH = int(os.environ.get("WIDTH", "384"))
SAMPLES = int(os.environ.get("SAMPLES", "16"))
OUT = os.environ.get("OUT", "/out")
STATUE = os.environ.get("STATUE", "/in/statue/moai.obj")

random.seed(1722)


class Nodes:
    """A material's or a world's nodes, wired in the order they are made."""

    def __init__(self, owner):
        owner.use_nodes = True
        self.tree = owner.node_tree
        self.tree.nodes.clear()

    def add(self, kind, inputs=None, **settings):
        node = self.tree.nodes.new(kind)
        for name, value in settings.items():
            setattr(node, name, value)
        for name, value in (inputs or {}).items():
            if isinstance(value, bpy.types.NodeSocket):
                self.tree.links.new(value, node.inputs[name])
            else:
                node.inputs[name].default_value = value
        return node

    def ramp(self, factor, *stops):
        node = self.add("ShaderNodeValToRGB", {"Fac": factor})
        elements = node.color_ramp.elements
        while len(elements) < len(stops):
            elements.new(0.5)
        for element, (position, color) in zip(elements, stops):
            element.position = position
            element.color = (*color, 1)
        return node.outputs["Color"]

    def noise(self, scale, detail, where, roughness=0.55):
        node = self.add("ShaderNodeTexNoise", {"Vector": where, "Scale": scale, "Detail": detail, "Roughness": roughness})
        return node.outputs["Fac"]

    def position(self):
        return self.add("ShaderNodeNewGeometry").outputs["Position"]

    def math(self, operation, a, b=0.0):
        node = self.add("ShaderNodeMath", {0: a, 1: b}, operation=operation)
        return node.outputs[0]


def surface(name, color, bump, strength, distance, **principled):
    """A material: color and bump are functions of its nodes and a position."""
    material = bpy.data.materials.new(name)
    n = Nodes(material)
    where = n.position()
    height = n.add("ShaderNodeBump", {"Height": bump(n, where), "Strength": strength, "Distance": distance})
    inputs = {"Base Color": color(n, where), "Normal": height.outputs["Normal"]}
    inputs.update(principled)
    shader = n.add("ShaderNodeBsdfPrincipled", inputs)
    n.add("ShaderNodeOutputMaterial", {"Surface": shader.outputs["BSDF"]})
    return material


def materials():
    tuff = surface(
        "tuff",
        lambda n, p: n.ramp(n.noise(2.6, 8, p), (0.30, (0.075, 0.060, 0.050)), (0.52, (0.22, 0.185, 0.155)), (0.75, (0.36, 0.31, 0.24))),
        lambda n, p: n.noise(5, 9, p, 0.6), 0.32, 0.05, Roughness=0.92,
    )

    def blocks(n, p):
        cells = n.add("ShaderNodeTexVoronoi", {"Vector": p, "Scale": 2.4}, feature="DISTANCE_TO_EDGE")
        joint = n.add("ShaderNodeMapRange", {"Value": cells.outputs["Distance"], "From Max": 0.08})
        return n.math("ADD", joint.outputs["Result"], n.math("MULTIPLY", n.noise(12, 8, p), 0.5))

    basalt = surface(
        "basalt",
        lambda n, p: n.ramp(n.noise(3, 8, p), (0.35, (0.045, 0.043, 0.042)), (0.7, (0.17, 0.155, 0.14))),
        blocks, 0.8, 0.09, Roughness=0.85,
    )
    grass = surface(
        "grass",
        lambda n, p: n.ramp(n.noise(0.9, 9, p), (0.33, (0.030, 0.050, 0.012)), (0.5, (0.085, 0.105, 0.025)), (0.66, (0.22, 0.19, 0.075))),
        lambda n, p: n.noise(20, 8, p, 0.65), 0.55, 0.08, Roughness=1.0,
    )

    def swell(n, p):
        long = n.add("ShaderNodeVectorMath", {0: p, 1: (0.30, 1.0, 1.0)}, operation="MULTIPLY").outputs["Vector"]
        return n.math("ADD", n.noise(0.5, 6, long), n.math("MULTIPLY", n.noise(3.0, 3, long), 0.3))

    sea = surface("sea", lambda n, p: n.ramp(n.noise(0.05, 2, p), (0, (0.004, 0.022, 0.032)), (1, (0.010, 0.050, 0.060))),
                  swell, 0.45, 0.8, Roughness=0.12, Specular=0.6)
    return tuff, basalt, grass, sea


def grid(name, material, x, y, cells, height):
    """A sheet of land: height is a function of where."""
    across, along = cells
    points, faces = [], []
    for j in range(along + 1):
        for i in range(across + 1):
            px = x[0] + (x[1] - x[0]) * i / across
            py = y[0] + (y[1] - y[0]) * j / along
            points.append((px, py, height(px, py)))
    for j in range(along):
        for i in range(across):
            a = j * (across + 1) + i
            faces.append((a, a + 1, a + across + 2, a + across + 1))
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(points, [], faces)
    mesh.polygons.foreach_set("use_smooth", [True] * len(faces))
    mesh.materials.append(material)
    return place(name, mesh)


def place(name, mesh, **at):
    thing = bpy.data.objects.new(name, mesh)
    for key, value in at.items():
        setattr(thing, key, value)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def rock(name, material, size):
    """A boulder: a sphere that fell down a mountain."""
    import bmesh

    mesh = bpy.data.meshes.new(name)
    b = bmesh.new()
    bmesh.ops.create_icosphere(b, subdivisions=3, radius=1)
    lumps = [(Vector([random.gauss(0, 1) for _ in range(3)]).normalized(), random.uniform(0.1, 0.5)) for _ in range(14)]
    for v in b.verts:
        d = v.co.normalized()
        for lump, depth in lumps:
            v.co -= d * depth * max(0.0, d.dot(lump) - 0.72)
        v.co = Vector((v.co.x * size[0], v.co.y * size[1], v.co.z * size[2]))
    b.to_mesh(mesh)
    b.free()
    mesh.polygons.foreach_set("use_smooth", [True] * len(mesh.polygons))
    mesh.materials.append(material)
    return mesh


def land(px, py):
    """Height of the headland: it falls to the sea behind the statues."""
    roll = 0.16 * math.sin(0.55 * px + 1) * math.cos(0.4 * py) + 0.05 * math.sin(2.1 * px) * math.sin(1.7 * py)
    cliff = 1 / (1 + math.exp(-(py - 5.2 - 0.7 * math.sin(0.45 * px)) * 2.2))
    return roll * (1 - cliff) - 3.2 * cliff


def build():
    tuff, basalt, grass, sea = materials()
    grid("land", grass, (-30, 30), (-14, 9), (150, 90), land)
    grid("sea", sea, (-600, 600), (4, 900), (2, 2), lambda *_: -1.6)

    platform = grid("platform", basalt, (-6.6, 6.6), (0.2, 2.6), (66, 12), lambda *_: 0.55)
    platform.modifiers.new("thick", "SOLIDIFY").thickness = 0.9

    bpy.ops.wm.obj_import(filepath=STATUE)
    statue = bpy.context.selected_objects[0]
    mesh = statue.data
    bpy.data.objects.remove(statue)
    mesh.materials.clear()
    mesh.materials.append(tuff)
    mesh.polygons.foreach_set("use_smooth", [True] * len(mesh.polygons))
    for i, size in enumerate((0.92, 1.18, 1.04, 1.42, 1.12, 0.98, 1.24)):
        place(
            "moai", mesh, location=(-5.1 + 1.7 * i, 1.3 + random.uniform(-0.1, 0.1), 0.53),
            rotation_euler=(math.radians(90 + random.uniform(-2, 2)), 0, math.radians(random.uniform(-7, 7))),
            scale=(size, size * random.uniform(0.96, 1.06), size),
        )
    for k in range(40):
        x, y = random.uniform(-9, 9), random.uniform(-6.5, -0.4)
        s = random.uniform(0.05, 0.28)
        if abs(x) < 1.4 and y < -3:
            continue  # where the camera stands
        stone = rock("rock", basalt, (s * random.uniform(0.8, 1.5), s * random.uniform(0.8, 1.4), s * random.uniform(0.5, 0.9)))
        place("rock", stone, location=(x, y, land(x, y) + 0.15 * s), rotation_euler=(0, 0, random.uniform(0, 6.28)))


def sky():
    """The world: a sky that knows where the sun is, stars, and the moon."""
    world = bpy.data.worlds.new("sky")
    bpy.context.scene.world = world
    n = Nodes(world)
    day = n.add("ShaderNodeTexSky", sky_type="NISHITA", sun_size=math.radians(1.6), sun_intensity=0.55, altitude=30, dust_density=1.6, ozone_density=1.3)
    where = n.add("ShaderNodeTexCoord").outputs["Generated"]
    seen = n.add("ShaderNodeLightPath").outputs["Is Camera Ray"]  # stars light nothing, they would only be noise
    stars = n.ramp(n.math("MULTIPLY", n.noise(300, 0, where), seen), (0.82, (0, 0, 0)), (0.88, (1.6, 1.8, 2.0)))
    cloud = n.add("ShaderNodeVectorMath", {0: where, 1: (1, 1, 4)}, operation="MULTIPLY").outputs["Vector"]
    veil = n.ramp(n.noise(2.2, 10, cloud, 0.6), (0.50, (0, 0, 0)), (0.75, (1, 1, 1)))
    night = n.add("ShaderNodeMixRGB", {"Fac": 1.0, "Color1": stars, "Color2": (0.008, 0.014, 0.034, 1)}, blend_type="ADD")
    both = n.add("ShaderNodeBackground", {"Color": day.outputs["Color"], "Strength": 0.13})
    dark = n.add("ShaderNodeBackground", {"Color": night.outputs["Color"], "Strength": 0.0})
    white = n.add("ShaderNodeBackground", {"Color": (1, 1, 1, 1), "Strength": 0.0})
    veiled = n.add("ShaderNodeMixShader", {0: n.math("MULTIPLY", veil, 0.35), 1: both.outputs[0], 2: white.outputs[0]})
    total = n.add("ShaderNodeAddShader", {0: veiled.outputs[0], 1: dark.outputs[0]})
    n.add("ShaderNodeOutputWorld", {"Surface": total.outputs[0]})

    lamp = bpy.data.lights.new("moon", "SUN")
    lamp.color, lamp.angle = (0.55, 0.70, 1.0), math.radians(0.8)
    moon = bpy.data.objects.new("moon", lamp)
    bpy.context.scene.collection.objects.link(moon)

    def turn(phase):
        """phase 0 is midnight, 0.5 noon; the sun rises on the right and sets on the left."""
        angle = 2 * math.pi * (phase - 0.25)  # above the right horizon at 0.25
        height = math.radians(40) * (math.sin(angle) + 0.3) / 1.3  # a summer's day: the night is short
        day.sun_elevation = max(height, math.radians(-9))
        day.sun_rotation = math.pi - math.radians(118) * math.cos(angle)  # behind them, before them, behind them
        light = max(0.0, min(1.0, math.degrees(height) / 12 + 0.35))
        dark.inputs["Strength"].default_value = (1 - light) ** 2 * 0.9
        white.inputs["Strength"].default_value = 0.1 + 0.9 * light
        lamp.energy = 1.1 * (1 - light) ** 2
        moon.rotation_euler = (math.radians(52), 0, math.radians(35) * math.cos(angle))
        return light

    return turn


def camera():
    data = bpy.data.cameras.new("camera")
    data.lens = 27
    eye = bpy.data.objects.new("camera", data)
    bpy.context.scene.collection.objects.link(eye)
    bpy.context.scene.camera = eye

    def move(phase):
        sway = 2 * math.pi * phase
        eye.location = (1.5 * math.sin(sway), -6.6 + 0.35 * math.cos(sway), 0.95 + 0.12 * math.cos(sway))
        aim = Vector((0.45 * math.sin(sway), 1.3, 1.95))
        eye.rotation_euler = (aim - eye.location).to_track_quat("-Z", "Y").to_euler()

    return move


def main():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = SAMPLES
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.use_denoising = False
    scene.cycles.max_bounces = 3
    scene.cycles.sample_clamp_indirect = 4
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, WIDTH * 9 // 16
    scene.render.use_persistent_data = True
    scene.view_settings.view_transform = "Filmic"
    scene.view_settings.look = "Medium High Contrast"
    build()
    turn, move = sky(), camera()
    first = int(os.environ.get("MOYAI_INDEX", "0")) * PER_TASK + 1
    for frame in range(first, min(first + PER_TASK, FRAMES + 1)):
        phase = (frame - 1) / FRAMES
        light = turn(phase)
        move(phase)
        scene.view_settings.exposure = 0.8 * (1 - light)
        scene.cycles.seed = frame
        scene.render.filepath = os.path.join(OUT, f"frame-{frame:04d}.png")
        bpy.ops.render.render(write_still=True)
        print(f"frame {frame} of {FRAMES}", flush=True)


main()
