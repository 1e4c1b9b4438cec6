//! Kinds of nodes.

/// What kind of node of a plan it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// No node: the execution as a whole. Its executions are those of the statement that were looked into.
    Execution = 0,
    /// A table read from its first page to its last.
    SeqScan = 1,
    /// A sample of a table.
    SampleScan = 2,
    /// Rows of a table by an index.
    IndexScan = 3,
    /// Columns from an index alone.
    IndexOnlyScan = 4,
    /// Pages of a table by one index or several.
    BitmapScan = 5,
    /// Rows of a table by their places.
    TidScan = 6,
    /// A foreign table.
    ForeignScan = 7,
    /// What another extension reads.
    CustomScan = 8,
    /// The result of a subquery.
    SubqueryScan = 9,
    /// The result of a function.
    FunctionScan = 10,
    /// A list of values.
    ValuesScan = 11,
    /// The result of a common table expression.
    CteScan = 12,
    /// Anything else that rows are read from.
    OtherScan = 13,
    /// A nested loop.
    NestedLoop = 14,
    /// A merge join.
    MergeJoin = 15,
    /// A hash join.
    HashJoin = 16,
    /// Aggregation, with the conditions of HAVING.
    Aggregate = 17,
    /// Grouping without aggregates.
    Group = 18,
    /// Window functions.
    Window = 19,
    /// Conditions on no table.
    Result = 20,
    /// Results of parallel workers.
    Gather = 21,
    /// A sort.
    Sort = 22,
    /// A sort of what is sorted in part.
    IncrementalSort = 23,
    /// The hash table of a join.
    Hash = 24,
    /// No node: an execution in which every number of rows that was compared told only whether there were any.
    Existence = 25,
    /// The condition of ON CONFLICT DO UPDATE, on rows that were there already.
    Conflict = 26,
    /// OFFSET, with the rows that came to it.
    Limit = 27,
}

impl Kind {
    /// All of them; `ALL[k as usize] == k`.
    pub const ALL: [Self; 28] = [
        Self::Execution,
        Self::SeqScan,
        Self::SampleScan,
        Self::IndexScan,
        Self::IndexOnlyScan,
        Self::BitmapScan,
        Self::TidScan,
        Self::ForeignScan,
        Self::CustomScan,
        Self::SubqueryScan,
        Self::FunctionScan,
        Self::ValuesScan,
        Self::CteScan,
        Self::OtherScan,
        Self::NestedLoop,
        Self::MergeJoin,
        Self::HashJoin,
        Self::Aggregate,
        Self::Group,
        Self::Window,
        Self::Result,
        Self::Gather,
        Self::Sort,
        Self::IncrementalSort,
        Self::Hash,
        Self::Existence,
        Self::Conflict,
        Self::Limit,
    ];

    /// By its number.
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Execution => "execution",
            Self::SeqScan => "seq_scan",
            Self::SampleScan => "sample_scan",
            Self::IndexScan => "index_scan",
            Self::IndexOnlyScan => "index_only_scan",
            Self::BitmapScan => "bitmap_scan",
            Self::TidScan => "tid_scan",
            Self::ForeignScan => "foreign_scan",
            Self::CustomScan => "custom_scan",
            Self::SubqueryScan => "subquery_scan",
            Self::FunctionScan => "function_scan",
            Self::ValuesScan => "values_scan",
            Self::CteScan => "cte_scan",
            Self::OtherScan => "other_scan",
            Self::NestedLoop => "nested_loop",
            Self::MergeJoin => "merge_join",
            Self::HashJoin => "hash_join",
            Self::Aggregate => "aggregate",
            Self::Group => "group",
            Self::Window => "window",
            Self::Result => "result",
            Self::Gather => "gather",
            Self::Sort => "sort",
            Self::IncrementalSort => "incremental_sort",
            Self::Hash => "hash",
            Self::Existence => "existence",
            Self::Conflict => "on_conflict",
            Self::Limit => "limit",
        }
    }

    /// From the name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it reads a table and is counted however few rows it throws away.
    pub fn reads_all(self) -> bool {
        matches!(self, Self::SeqScan | Self::SampleScan | Self::ForeignScan)
    }
}
