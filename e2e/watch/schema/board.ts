// What a board of deploy/grafana may say. Grafana's own Dashboard leaves the options of panels and the fields of queries
// open ("Record<string, unknown>"), so that a misspelt one would pass; here each panel has the types of its plugin.
import type { AnnotationQuery, Dashboard, DataQuery, FieldConfigSource, Panel, RowPanel, VariableModel } from "@grafana/schema";
import type { Options as BarGauge } from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type { Options as Stat } from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type { FieldConfig as TimelineField, Options as Timeline } from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type { FieldConfig as SeriesField, Options as Series } from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// Query is a query of the Prometheus data source, which is a plugin and not in the schema.
interface Query extends DataQuery {
  expr: string;
  legendFormat: string;
  instant?: boolean;
  range: boolean;
}

interface Of<Type, Options, Custom> extends Omit<Panel, "type" | "options" | "fieldConfig" | "targets"> {
  type: Type;
  options: Options;
  fieldConfig: { defaults: Omit<FieldConfigSource["defaults"], "custom"> & { custom?: Custom }; overrides: FieldConfigSource["overrides"] };
  targets: Query[];
}

type None = Record<string, never>;

type AnyPanel =
  | Of<"bargauge", BarGauge, None>
  | Of<"stat", Stat, None>
  | Of<"state-timeline", Timeline, TimelineField>
  | Of<"timeseries", Series, SeriesField>
  | RowPanel;

interface Variable extends Omit<VariableModel, "query"> {
  query: string | { query: string; refId: string; qryType: number };
}

interface Annotation extends Omit<AnnotationQuery, "target"> {
  target: { refId: string; expr: string };
  titleFormat: string;
  textFormat: string;
}

// Plain is T as JSON spells it: the names of an enumeration are the strings that they stand for.
type Plain<T> = unknown extends T
  ? T
  : T extends string
    ? `${T}`
    : T extends number | boolean | null | undefined
      ? T
      : { [K in keyof T]: Plain<T[K]> };

export type Board = Plain<
  Required<Pick<Dashboard, "uid" | "title" | "description" | "tags" | "schemaVersion" | "time" | "refresh" | "links">> &
    Omit<Dashboard, "panels" | "templating" | "annotations"> & {
      panels: AnyPanel[];
      templating: { list: Variable[] };
      annotations: { list: Annotation[] };
    }
>;

// Grafanas is Grafana's own type, which is looser: whatever is a Board must be one of those.
export type Grafanas = Plain<Dashboard>;
